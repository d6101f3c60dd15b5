"""The virtual GPU: tensors with shape, stride, dtype, device and lifetime, but no data.

A virtual tensor is a plain ``torch.Tensor`` (or ``nn.Parameter``) on torch's ``meta`` device whose
*storage* carries what a script would see: the device it claims to be on and, for small tensors that
came from real data, a copy of that data (its *shadow*). Nothing is a subclass, so type checks,
optimizers, hooks, deepcopy and autograd behave as they do on a GPU, and operations cost
microseconds.

    Recorder (tape)              sees every operation first
    VirtualDevice (device.py)    runs it without data: shapes from torch's own meta kernels (cached),
                                 CUDA's rules for devices and dtypes (errors.py), operations whose
                                 result depends on data (kernels.py, values.py)
    override key (overrides.py)  above autograd: CUDA autocast (autocast.py), the attention kernel
                                 CUDA would choose (attention.py), dropout, recurrent layers (rnn.py)
    patches (patch_*.py)         what Python code can ask: ``.device``, ``.to``, ``torch.cuda.*``
"""
