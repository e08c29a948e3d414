"""The commands: dataset, pretrain, distill, evaluate."""
