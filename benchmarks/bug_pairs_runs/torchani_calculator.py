"""Relax small molecules, compare them to their atoms, and run dynamics of a crystal, by torchani's calculator for ASE.

fix: ca47b225
depth: live 60
expects: -
where: program
stands in: pkg_resources (left setuptools)
needs: ase, lark
"""

from types import SimpleNamespace

import numpy as np
from stand_ins import HERE, stand_in

stand_in(
    "pkg_resources",
    resource_filename=lambda package, name: str(HERE / package / name),
    get_distribution=lambda name: SimpleNamespace(version="1.2"),
    DistributionNotFound=LookupError,
)
import torchani
from ase import Atoms, units
from ase.build import molecule
from ase.lattice.cubic import Diamond
from ase.md.langevin import Langevin
from ase.optimize import BFGS

model = torchani.models.ANI1x()[0].double()


def report(name, atoms):
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    print(f"{name}: energy {energy:.3f} eV, largest force {np.abs(forces).max():.4f} eV/A")
    return energy


single = {}
for symbol in ("H", "C", "N", "O"):
    single[symbol] = report(symbol, Atoms(symbol, positions=[[0.0, 0.0, 0.0]], calculator=model.ase()))

for name in ("H2O", "CH4", "NH3", "CH3OH"):
    atoms = molecule(name)
    atoms.rattle(0.05, seed=1)
    atoms.calc = model.ase()
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=30)
    energy = report(name, atoms)
    print(f"  atomization energy {sum(single[symbol] for symbol in atoms.get_chemical_symbols()) - energy:.3f} eV")

crystal = Diamond(symbol="C", pbc=True)
crystal.calc = model.ase()
dynamics = Langevin(crystal, 1 * units.fs, temperature_K=300, friction=0.2)
dynamics.attach(lambda: report("crystal", crystal), interval=5)
dynamics.run(15)
