"""Training: `loop` (a recipe on a store), `pretrain` (a volume encoder on finding labels), `checkpoint`, `optim`."""
