"""One file for each published system, named as recipes' `kind`: names, constants, differences."""
