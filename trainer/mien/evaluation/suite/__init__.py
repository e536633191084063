"""The five tasks of the paper on public benchmarks: one protocol a table, published rows beside ours."""
