//! A directory seen from outside the plugin: read and changed as its administrator, with OpenLDAP's own tools.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::people::line;
use super::{run, run_unchecked};

/// Which product it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    OpenLdap,
    ActiveDirectory,
    Ds389,
}

impl Kind {
    /// The attribute that holds a photo by custom.
    pub(crate) fn photo_attribute(self) -> &'static str {
        if self == Kind::ActiveDirectory { "thumbnailPhoto" } else { "jpegPhoto" }
    }

    fn ldap_type(self) -> &'static str {
        match self {
            Kind::OpenLdap => "OpenLDAP",
            Kind::ActiveDirectory => "ActiveDirectory",
            Kind::Ds389 => "389DirectoryServer",
        }
    }

    fn user_filter(self) -> &'static str {
        if self == Kind::ActiveDirectory {
            "(&(objectClass=user)(objectCategory=PERSON))"
        } else {
            "(objectClass=inetOrgPerson)"
        }
    }
}

/// How to reach a directory, as its administrator and as the plugin's account.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) kind: Kind,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    /// The authority that signed the server's certificate, PEM.
    pub(crate) ca: PathBuf,
    /// The naming context.
    pub(crate) base: String,
    /// The subtree of the people under test.
    pub(crate) people: String,
    /// DN (or user principal name) and password of the administrator.
    pub(crate) admin: (String, String),
    /// DN (or user principal name) and password of the account with least rights that the plugin uses.
    pub(crate) service: (String, String),
    /// Active Directory takes no password without TLS.
    pub(crate) admin_over_tls: bool,
}

/// Entries by DN, attributes by name, values as a set. Operational change marks are part of it.
pub(crate) type Dump = BTreeMap<String, BTreeMap<String, BTreeSet<Vec<u8>>>>;

impl Directory {
    /// True when the server answers for its root entry without signing in.
    pub(crate) fn answers(&self) -> bool {
        let mut command = Command::new("ldapsearch");
        command.args(["-x", "-s", "base", "-b", "", "-H"]).arg(format!("ldap://{}:{}", self.host, self.port));
        command.env("LDAPCONF", "/dev/null").arg("supportedLDAPVersion");
        run_unchecked(&mut command, "").status.success()
    }

    /// The settings of this server as the admin page sends them to `config_save`, over `ldaps`, `starttls` or `none`.
    pub(crate) fn settings(&self, security: &str) -> Value {
        let port = if security == "ldaps" { self.tls_port } else { self.port };
        let authority = std::fs::read_to_string(&self.ca).expect("the authority's certificate");
        let status = if self.kind == Kind::ActiveDirectory { "userAccountControl" } else { "" };
        json!({
            "id": null, "ldapType": self.kind.ldap_type(), "serverName": self.host, "serverPort": port,
            "security": security, "caCertificate": if security == "none" { String::new() } else { authority },
            "verifyCertificate": true, "administrativeLogin": self.service.0, "administrativePassword": self.service.1,
            "baseDN": self.base, "organizationalUnit": self.people, "userFilter": self.kind.user_filter(),
            "attributes": {
                "userNameAttribute": "displayName", "userExtensionAttribute": "telephoneNumber",
                "userMobileAttribute": "mobile", "userEmailAttribute": "mail",
                "userAvatarAttribute": self.kind.photo_attribute(), "userAccountControl": status,
                "userPasswordAttribute": "",
            },
            "updateAttributes": true, "autosync": true, "defaultRegion": "RU",
        })
    }

    /// Everything below the subtree of the people, with the operational attributes that move when an entry changes.
    pub(crate) fn dump(&self) -> Dump {
        let marks = ["*", "entryCSN", "modifyTimestamp", "uSNChanged"];
        let text = run(self
            .tool("ldapsearch")
            .args(["-LLL", "-o", "ldif-wrap=no", "-E", "pr=1000/noprompt", "-b"])
            .arg(&self.people)
            .args(marks));
        parse(&text)
    }

    /// The values of one attribute of one person, as text, sorted.
    pub(crate) fn values(&self, login: &str, attribute: &str) -> Vec<String> {
        let filter = format!("(|(uid={login})(sAMAccountName={login}))");
        let text = run(self
            .tool("ldapsearch")
            .args(["-LLL", "-o", "ldif-wrap=no", "-b"])
            .arg(&self.people)
            .arg(filter)
            .arg(attribute));
        let entries = parse(&text);
        assert_eq!(entries.len(), 1, "{login} should stand in the directory exactly once: {entries:?}");
        let values = entries.into_values().next().and_then(|mut entry| entry.remove(&attribute.to_ascii_lowercase()));
        values.unwrap_or_default().into_iter().map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
    }

    /// Every person's values of one attribute, by login.
    pub(crate) fn by_login(&self, attribute: &str) -> BTreeMap<String, Vec<String>> {
        let login = if self.kind == Kind::ActiveDirectory { "samaccountname" } else { "uid" };
        let text = |values: &BTreeSet<Vec<u8>>| -> Vec<String> {
            values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
        };
        let entry = |entry: BTreeMap<String, BTreeSet<Vec<u8>>>| {
            let name = text(entry.get(login)?).pop()?;
            Some((name, entry.get(&attribute.to_ascii_lowercase()).map(text).unwrap_or_default()))
        };
        self.dump().into_values().filter_map(entry).collect()
    }

    /// Replaces one attribute of one person; an empty value removes it.
    pub(crate) fn set(&self, login: &str, attribute: &str, value: &str) {
        let mut ldif = String::new();
        line(&mut ldif, "dn", &self.dn_now(login));
        ldif += &format!("changetype: modify\nreplace: {attribute}\n");
        if !value.is_empty() {
            line(&mut ldif, attribute, value);
        }
        self.modify(&ldif);
    }

    /// Replaces one attribute by bytes; nothing removes it.
    pub(crate) fn set_bytes(&self, login: &str, attribute: &str, value: &[u8]) {
        let mut ldif = String::new();
        line(&mut ldif, "dn", &self.dn_now(login));
        ldif += &format!("changetype: modify\nreplace: {attribute}\n");
        if !value.is_empty() {
            ldif += &format!("{attribute}:: {}\n", STANDARD.encode(value));
        }
        self.modify(&ldif);
    }

    /// The bytes of one attribute of one person; of several values the first.
    pub(crate) fn bytes(&self, login: &str, attribute: &str) -> Vec<u8> {
        let entry = self.entry(login).1;
        entry.get(&attribute.to_ascii_lowercase()).and_then(|values| values.first().cloned()).unwrap_or_default()
    }

    /// Where the person stands now.
    pub(crate) fn dn_now(&self, login: &str) -> String {
        self.entry(login).0
    }

    /// The DN of the one entry that has this value.
    pub(crate) fn dn_with(&self, attribute: &str, value: &str) -> String {
        self.found(&format!("({attribute}={value})")).0
    }

    fn entry(&self, login: &str) -> (String, BTreeMap<String, BTreeSet<Vec<u8>>>) {
        self.found(&format!("(|(uid={login})(sAMAccountName={login}))"))
    }

    /// The one entry a filter finds.
    fn found(&self, filter: &str) -> (String, BTreeMap<String, BTreeSet<Vec<u8>>>) {
        let mut search = self.tool("ldapsearch");
        search.args(["-LLL", "-o", "ldif-wrap=no", "-b"]).arg(&self.base).arg(filter).arg("*");
        // A domain controller also names other partitions, as references.
        let mut entries: Vec<_> = parse(&run(&mut search)).into_iter().collect();
        assert_eq!(entries.len(), 1, "{filter} should find exactly one entry: {entries:?}");
        entries.remove(0)
    }

    /// Deletes a person.
    pub(crate) fn delete(&self, login: &str) {
        let mut ldif = String::new();
        line(&mut ldif, "dn", &self.dn_now(login));
        self.modify(&(ldif + "changetype: delete\n"));
    }

    /// Moves a person below another entry.
    pub(crate) fn move_to(&self, login: &str, parent: &str) {
        let dn = self.dn_now(login);
        let rdn = dn.split(',').next().expect("a DN has parts").to_owned();
        let mut ldif = String::new();
        line(&mut ldif, "dn", &dn);
        ldif += "changetype: moddn\n";
        line(&mut ldif, "newrdn", &rdn);
        ldif += "deleteoldrdn: 1\n";
        line(&mut ldif, "newsuperior", parent);
        self.modify(&ldif);
    }

    /// An organisational unit below the people under test, made here.
    pub(crate) fn add_unit(&self, name: &str) -> String {
        let dn = format!("ou={name},{}", self.people);
        self.add(&format!("dn: {dn}\nobjectClass: organizationalUnit\nou: {name}\n\n"));
        dn
    }

    /// A place outside the subtree of the people.
    pub(crate) fn outside(&self) -> String {
        let parent = if self.kind == Kind::ActiveDirectory { "CN=Users" } else { "ou=service" };
        format!("{parent},{}", self.base)
    }

    /// Switches an account off or on again.
    pub(crate) fn switch(&self, login: &str, on: bool) {
        let (attribute, value) = match (self.kind, on) {
            (Kind::ActiveDirectory, true) => ("userAccountControl", "544"),
            (Kind::ActiveDirectory, false) => ("userAccountControl", "546"),
            (Kind::OpenLdap, true) => ("employeeType", "staff"),
            (Kind::OpenLdap, false) => ("employeeType", "disabled"),
            (Kind::Ds389, true) => ("nsAccountLock", ""),
            (Kind::Ds389, false) => ("nsAccountLock", "TRUE"),
        };
        self.set(login, attribute, value);
    }

    /// The DN of a person under test.
    pub(crate) fn dn(&self, login: &str) -> String {
        let attribute = if self.kind == Kind::ActiveDirectory { "CN" } else { "uid" };
        format!("{attribute}={login},{}", self.people)
    }

    /// Applies LDIF change records as the administrator.
    pub(crate) fn modify(&self, ldif: &str) {
        self.feed("ldapmodify", ldif);
    }

    /// Adds LDIF entries as the administrator.
    pub(crate) fn add(&self, ldif: &str) {
        self.feed("ldapadd", ldif);
    }

    /// True when the account of the plugin is refused to write `attribute` of `login` (result code 50).
    pub(crate) fn service_may_not_write(&self, login: &str, attribute: &str) -> bool {
        let mut ldif = String::new();
        line(&mut ldif, "dn", &self.dn(login));
        ldif += &format!("changetype: modify\nreplace: {attribute}\n{attribute}: nobody may write this\n");
        let output = run_unchecked(&mut self.tool_as("ldapmodify", &self.service), &ldif);
        output.status.code() == Some(50)
    }

    fn feed(&self, tool: &str, ldif: &str) {
        let output = run_unchecked(&mut self.tool(tool), ldif);
        assert!(output.status.success(), "{tool} refused:\n{ldif}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    fn tool(&self, name: &str) -> Command {
        self.tool_as(name, &self.admin)
    }

    fn tool_as(&self, name: &str, account: &(String, String)) -> Command {
        let uri = if self.admin_over_tls {
            format!("ldaps://{}:{}", self.host, self.tls_port)
        } else {
            format!("ldap://{}:{}", self.host, self.port)
        };
        let mut command = Command::new(name);
        command.env("LDAPCONF", "/dev/null").env("LDAPTLS_CACERT", &self.ca).env("LDAPTLS_REQCERT", "demand");
        command.args(["-x", "-H", &uri, "-D", &account.0, "-w", &account.1]);
        command
    }
}

/// Reads LDIF without folded lines. Attribute names are kept in lower case.
fn parse(text: &str) -> Dump {
    let mut dump = Dump::new();
    for record in text.split("\n\n") {
        let mut entry: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
        let mut dn = None;
        for (name, value) in record.lines().filter(|line| !line.starts_with('#')).filter_map(attribute) {
            if name == "dn" {
                dn = Some(String::from_utf8_lossy(&value).into_owned());
            } else {
                entry.entry(name).or_default().insert(value);
            }
        }
        if let Some(dn) = dn {
            dump.insert(dn, entry);
        }
    }
    dump
}

fn attribute(line: &str) -> Option<(String, Vec<u8>)> {
    let (name, rest) = line.split_once(':')?;
    let value = match rest.strip_prefix(':') {
        Some(encoded) => STANDARD.decode(encoded.trim()).expect("an LDAP tool writes valid base64"),
        None => rest.strip_prefix(' ').unwrap_or(rest).as_bytes().to_vec(),
    };
    Some((name.to_ascii_lowercase(), value))
}
