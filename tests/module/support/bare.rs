//! A bare LDAP client, the measure for what the module does over the same wire.

use std::collections::HashSet;

use ldap3::controls::{Assertion, PostRead, RawControl};
use ldap3::{Ldap, LdapConnAsync, Mod, Scope, SearchEntry};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::directory::Directory;

/// Changes on their way at once.
const IN_FLIGHT: usize = 16;

/// A connection of the administrator.
pub(crate) struct Client {
    runtime: Runtime,
    ldap: Ldap,
    base: String,
}

impl Client {
    pub(crate) fn open(server: &Directory) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ldap = runtime.block_on(async {
            let address = format!("ldap://{}:{}", server.host, server.port);
            let (connection, mut ldap) = LdapConnAsync::new(&address).await.expect("a connection");
            ldap3::drive!(connection);
            ldap.simple_bind(&server.admin.0, &server.admin.1).await.expect("an answer").success().expect("signed in");
            ldap
        });
        Client { runtime, ldap, base: server.base.clone() }
    }

    /// Asks for the change mark of the directory.
    pub(crate) fn read_context(&self) -> Vec<String> {
        let mut ldap = self.ldap.clone();
        let found = self.runtime.block_on(ldap.search(&self.base, Scope::Base, "(objectClass=*)", ["contextCSN"]));
        let (entries, _) = found.expect("an answer").success().expect("a result");
        entries
            .into_iter()
            .flat_map(|entry| SearchEntry::construct(entry).attrs.remove("contextCSN"))
            .flatten()
            .collect()
    }

    /// Replaces, by compare-and-set, the value of an attribute of many entries, some at once, with `before` in front of each value.
    pub(crate) fn replace_all(&self, attribute: &str, values: &[(String, String)], before: &str) {
        self.runtime.block_on(async {
            let mut running = JoinSet::new();
            for (dn, value) in values {
                if running.len() == IN_FLIGHT {
                    running.join_next().await;
                }
                let (mut ldap, dn, attribute) = (self.ldap.clone(), dn.clone(), attribute.to_owned());
                // As the module writes: only if the entry is as it was read, and with the new change mark in the answer.
                let controls: Vec<RawControl> =
                    vec![Assertion::new("(objectClass=*)"), PostRead::new(vec!["entryCSN"])];
                ldap.with_controls(controls);
                let new = HashSet::from([format!("{before}{value}")]);
                running.spawn(async move {
                    let done = ldap.modify(&dn, vec![Mod::Replace(attribute, new)]).await;
                    done.expect("an answer").success().expect("written");
                });
            }
            while running.join_next().await.is_some() {}
        });
    }
}
