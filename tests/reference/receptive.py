"""Receptive fields from tables of (kernel, stride), for convolutions with a border of half their kernel."""

Row = list[tuple[int, int]]


def centred_field(row: Row, cell: int) -> tuple[int, int]:
    """First and last place of the input, along one axis, that a cell of the last layer sees."""
    first = last = cell
    for kernel, stride in reversed(row):
        first, last = first * stride - kernel // 2, last * stride + kernel // 2
    return first, last
