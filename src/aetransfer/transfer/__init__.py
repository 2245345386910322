"""How an encoder travels: what a pretraining exports, how it is found, and how it is fitted to the target."""
