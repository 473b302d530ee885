"""Run-time checks of annotations and shapes, under pytest only. An int counts as a float, as for type checkers."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
