//! The module's own database, `db/module.db`: the only place that knows its tables.
