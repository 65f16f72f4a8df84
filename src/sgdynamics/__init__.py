"""The stochastic dynamics of gradient descent: SGD, its SDE, and exact theory, with error bars."""
