# Fuzzers: built and run by `make fuzz`; `make check` replays their corpora.
