//! A PBX that a first synchronisation has brought in step with a directory of some people.

use serde_json::Value;

use super::host::Plugin;
use super::people::{Someone, crowd};
use super::servers::slapd::{self, Slapd};
use super::world::{World, sync};

pub(crate) struct InStep {
    pub(crate) world: World,
    pub(crate) server: Slapd,
    pub(crate) plugin: Plugin,
    pub(crate) id: Value,
    pub(crate) people: Vec<Someone>,
}

impl InStep {
    /// With `count` people and the kind of connection `security`; `None` when the machine has no slapd.
    pub(crate) fn make(count: usize, security: &str) -> Option<InStep> {
        let people = crowd(count);
        let server = slapd::start(&people)?;
        let world = World::new();
        let (mut plugin, id) = world.install(&server.settings(security));
        sync(&mut plugin, &id);
        Some(InStep { world, server, plugin, id, people })
    }
}
