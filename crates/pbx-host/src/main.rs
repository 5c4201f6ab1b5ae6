//! `pbx-host`: the host program.

fn main() {}
