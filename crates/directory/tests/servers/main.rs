//! Directories from outside: real OpenLDAP servers on loopback, and a server that breaks every rule.

mod hostile;
mod people;
mod support;
mod tls;
mod writing;
