//! LDAP directories: reading, writing and testing them.
