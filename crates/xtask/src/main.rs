//! `cargo xtask`: every multi-step command of the project.

fn main() {}
