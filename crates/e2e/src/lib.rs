//! Nothing: `src/bench` measures, `tests/it` proves. The library stands because deploy/Dockerfile makes an empty one for each
//! crate, and scripts/dockerfile-check lets it make none that is not there.
