"""What a training step would cost: time, memory, energy and money, before it is run; imports no torch."""
