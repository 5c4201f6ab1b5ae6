//! The plugin: the C boundary and the wiring, nothing else.
