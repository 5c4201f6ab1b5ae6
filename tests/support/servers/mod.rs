//! Real directory servers as private processes on loopback.

pub(crate) mod ds389;
pub(crate) mod guard;
pub(crate) mod samba;
pub(crate) mod slapd;
pub(crate) mod tls;
