# Floor 5: operations on tensors.
