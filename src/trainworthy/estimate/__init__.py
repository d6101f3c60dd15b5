"""What a step costs on a machine: time of operations, of collectives, of whole runs. Pure; never imports torch."""
