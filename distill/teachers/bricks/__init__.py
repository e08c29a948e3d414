"""Parts that several published systems are made of: front ends and layers."""
