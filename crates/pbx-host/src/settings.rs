//! A directory server's settings from command-line options, in the shape the hook "config save" takes.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

/// Settings of a directory server. Passwords never come from the command line, which other users can read.
#[derive(Args, Default)]
#[command(next_help_heading = "Server settings")]
pub(crate) struct ServerArgs {
    /// Settings as a JSON file, with the keys of the hook "config save"; options override it
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Kind of directory
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,
    /// Host; give it several times for hosts to be tried in order
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Port; 636 for ldaps and 389 otherwise when not given
    #[arg(long)]
    port: Option<u16>,
    /// Protection of the connection; ldaps when not given
    #[arg(long, value_enum, value_name = "SECURITY")]
    security: Option<Security>,
    /// Certificates of the authority to trust, as a PEM file; the system's when not given
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Check the server's certificate; false accepts any, so that anybody in between can read and change everything,
    /// the password too: name the authority with --ca or the certificate with --pin instead
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    verify: Option<bool>,
    /// SHA-256 of the one server certificate to accept, as `test` shows it
    #[arg(long, value_name = "SHA256")]
    pin: Option<String>,
    /// Allow a password over an unprotected connection to another machine
    #[arg(long)]
    allow_plain: bool,
    /// Account to sign in with: a DN, user@domain or DOMAIN\user
    #[arg(long)]
    login: Option<String>,
    /// Read the password from the first line of stdin
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    /// Read the password from the first line of a file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Where to search
    #[arg(long, value_name = "DN")]
    base_dn: Option<String>,
    /// Organisational unit below the base, when only that is wanted
    #[arg(long, value_name = "DN")]
    ou: Option<String>,
    /// LDAP filter for people
    #[arg(long)]
    filter: Option<String>,
    /// Attribute of a field: name, number, mobile, email, photo, status or secret; repeatable
    #[arg(long, value_name = "FIELD=ATTRIBUTE", value_parser = mapping)]
    map: Vec<(&'static str, String)>,
    /// Write numbers and changes back to the directory
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    write_back: Option<bool>,
    /// Synchronise by worker ticks
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    autosync: Option<bool>,
    /// Seconds between two automatic synchronisations, 30 to 2592000; 60 when not given
    #[arg(long, value_name = "SECONDS")]
    interval: Option<u64>,
    /// Local time at which everybody is compared once a day; 03:00 when not given
    #[arg(long, value_name = "HH:MM")]
    complete_run_at: Option<String>,
    /// No automatic synchronisation from this local time on
    #[arg(long, value_name = "HH:MM")]
    quiet_from: Option<String>,
    /// ... until this one
    #[arg(long, value_name = "HH:MM")]
    quiet_to: Option<String>,
    /// Country of phone numbers without a country code, as ISO 3166: RU, DE, US
    #[arg(long, value_name = "COUNTRY")]
    default_region: Option<String>,
    /// First internal number to give
    #[arg(long, value_name = "NUMBER")]
    number_from: Option<u64>,
    /// Last internal number to give
    #[arg(long, value_name = "NUMBER")]
    number_to: Option<u64>,
    /// Give a new person whose number is taken one of the numbers above instead of waiting for a decision
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pool_when_taken: Option<bool>,
    /// Point the forwardings of an employee at a new mobile, as the PBX's form does; true when not given
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    forward_to_mobile: Option<bool>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    #[value(name = "ActiveDirectory", alias = "ad")]
    ActiveDirectory,
    #[value(name = "OpenLDAP", alias = "openldap")]
    OpenLdap,
    #[value(name = "389DirectoryServer", aliases = ["389ds", "389"])]
    DirectoryServer389,
    #[value(name = "FreeIPA", alias = "freeipa")]
    FreeIpa,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::ActiveDirectory => "ActiveDirectory",
            Kind::OpenLdap => "OpenLDAP",
            Kind::DirectoryServer389 => "389DirectoryServer",
            Kind::FreeIpa => "FreeIPA",
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Security {
    Ldaps,
    Starttls,
    None,
}

impl Security {
    fn name(self) -> &'static str {
        match self {
            Security::Ldaps => "ldaps",
            Security::Starttls => "starttls",
            Security::None => "none",
        }
    }
}

impl ServerArgs {
    /// Whether a server is described at all.
    pub(crate) fn describe_a_server(&self) -> bool {
        self.settings.is_some() || !self.host.is_empty()
    }

    /// What the options say and nothing else: the library has the defaults of a new server, such as its port, and
    /// keeps what a form about a stored one leaves out.
    pub(crate) fn settings(&self) -> Result<Value> {
        Ok(Value::Object(self.given()?))
    }

    /// The options as a change of a stored server. The stored settings are not sent back, so that an edit made
    /// meanwhile stays and a server whose settings cannot be read can be mended.
    pub(crate) fn change(&self, id: Value) -> Result<Value> {
        let mut settings = self.given()?;
        settings.insert("id".to_owned(), id);
        Ok(Value::Object(settings))
    }

    fn given(&self) -> Result<Map<String, Value>> {
        let mut settings = self.settings.as_deref().map(settings_file).transpose()?.unwrap_or_default();
        let ca = self.ca.as_deref().map(|path| read(path, "--ca")).transpose()?;
        let password = self.password()?;
        let given = [
            ("ldapType", self.kind.map(|kind| json!(kind.name()))),
            ("serverName", (!self.host.is_empty()).then(|| json!(self.host.join(", ")))),
            ("serverPort", self.port.map(Value::from)),
            ("security", self.security.map(|security| json!(security.name()))),
            ("caCertificate", ca.map(Value::from)),
            ("verifyCertificate", self.verify.map(Value::from)),
            ("pinnedCertificate", self.pin.clone().map(Value::from)),
            ("allowPlain", self.allow_plain.then_some(Value::Bool(true))),
            ("administrativeLogin", self.login.clone().map(Value::from)),
            ("administrativePassword", password.map(Value::from)),
            ("baseDN", self.base_dn.clone().map(Value::from)),
            ("organizationalUnit", self.ou.clone().map(Value::from)),
            ("userFilter", self.filter.clone().map(Value::from)),
            ("updateAttributes", self.write_back.map(Value::from)),
            ("autosync", self.autosync.map(Value::from)),
            ("syncInterval", self.interval.map(Value::from)),
            ("completeRunAt", self.complete_run_at.clone().map(Value::from)),
            ("quietFrom", self.quiet_from.clone().map(Value::from)),
            ("quietTo", self.quiet_to.clone().map(Value::from)),
            ("defaultRegion", self.default_region.clone().map(Value::from)),
            ("numberFrom", self.number_from.map(Value::from)),
            ("numberTo", self.number_to.map(Value::from)),
            ("poolWhenTaken", self.pool_when_taken.map(Value::from)),
            ("forwardToMobile", self.forward_to_mobile.map(Value::from)),
        ];
        settings.extend(given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        if !self.map.is_empty() {
            let attributes = settings.entry("attributes").or_insert_with(|| json!({}));
            for (key, attribute) in &self.map {
                attributes[*key] = json!(attribute);
            }
        }
        Ok(settings)
    }

    fn password(&self) -> Result<Option<String>> {
        let text = match &self.password_file {
            Some(path) => read(path, "--password-file")?,
            None if self.password_stdin => {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).context("cannot read the password from stdin")?;
                text
            }
            None => return Ok(None),
        };
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Some(line.to_owned())),
            _ => bail!("the password is empty: its first line is taken"),
        }
    }
}

fn settings_file(path: &Path) -> Result<Map<String, Value>> {
    serde_json::from_str(&read(path, "--settings")?)
        .with_context(|| format!("{} (--settings) is no JSON object", path.display()))
}

fn read(path: &Path, option: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {} ({option})", path.display()))
}

/// `FIELD=ATTRIBUTE` with the field's key in the settings.
fn mapping(text: &str) -> Result<(&'static str, String), String> {
    const KEYS: [(&str, &str); 7] = [
        ("name", "userNameAttribute"),
        ("number", "userExtensionAttribute"),
        ("mobile", "userMobileAttribute"),
        ("email", "userEmailAttribute"),
        ("photo", "userAvatarAttribute"),
        ("status", "userAccountControl"),
        ("secret", "userPasswordAttribute"),
    ];
    let (field, attribute) = text.split_once('=').ok_or("expected FIELD=ATTRIBUTE, for example name=displayName")?;
    match KEYS.iter().find(|(name, _)| *name == field) {
        Some((_, key)) => Ok((key, attribute.trim().to_owned())),
        None => {
            let fields: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
            Err(format!("there is no field {field:?}; the fields are {}", fields.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        server: ServerArgs,
    }

    fn parse(arguments: &[&str]) -> ServerArgs {
        Wrapper::try_parse_from(["x"].iter().chain(arguments)).unwrap().server
    }

    #[test]
    fn options_become_the_keys_of_config_save() {
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        fs::write(&password, "s3 cret\nsecond line\n").unwrap();
        let settings = parse(&[
            "--type=ad",
            "--host=dc1.example.com",
            "--host=dc2.example.com",
            "--login=pbx@example.com",
            "--password-file",
            password.to_str().unwrap(),
            "--base-dn=DC=example,DC=com",
            "--map=name=displayName",
            "--map=number=ipPhone",
            "--write-back",
            "--autosync=false",
            "--number-from=300",
        ])
        .settings()
        .unwrap();
        let expected = json!({
            "ldapType": "ActiveDirectory", "serverName": "dc1.example.com, dc2.example.com",
            "administrativeLogin": "pbx@example.com", "administrativePassword": "s3 cret",
            "baseDN": "DC=example,DC=com", "updateAttributes": true, "autosync": false, "numberFrom": 300,
            "attributes": {"userNameAttribute": "displayName", "userExtensionAttribute": "ipPhone"},
        });
        assert_eq!(settings, expected);
    }

    #[test]
    fn switches_take_both_values() {
        let on = parse(&["--pool-when-taken", "--forward-to-mobile=true", "--verify", "--interval=3600"]);
        let expected =
            json!({"poolWhenTaken": true, "forwardToMobile": true, "verifyCertificate": true, "syncInterval": 3600});
        assert_eq!(on.settings().unwrap(), expected);
        let off = parse(&["--pool-when-taken=false", "--forward-to-mobile=false", "--verify=false"]);
        let expected = json!({"poolWhenTaken": false, "forwardToMobile": false, "verifyCertificate": false});
        assert_eq!(off.settings().unwrap(), expected);
    }

    #[test]
    fn the_port_is_the_librarys_choice_unless_given() {
        assert_eq!(parse(&["--security=starttls"]).settings().unwrap(), json!({"security": "starttls"}));
        assert_eq!(parse(&["--port=3269"]).settings().unwrap(), json!({"serverPort": 3269}));
    }

    #[test]
    fn a_change_says_only_what_the_options_say() {
        let change = parse(&["--map=name=displayName", "--filter=(uid=*)"]).change(json!(1)).unwrap();
        let expected = json!({"id": 1, "userFilter": "(uid=*)", "attributes": {"userNameAttribute": "displayName"}});
        assert_eq!(change, expected);
    }

    #[test]
    fn options_override_the_settings_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.json");
        fs::write(&path, r#"{"serverName": "a", "serverPort": 1389, "security": "none"}"#).unwrap();
        let settings = parse(&["--settings", path.to_str().unwrap(), "--host=b"]).settings().unwrap();
        assert_eq!(settings, json!({"serverName": "b", "serverPort": 1389, "security": "none"}));
        fs::write(&path, "[]").unwrap();
        let error = parse(&["--settings", path.to_str().unwrap()]).settings().unwrap_err();
        assert!(error.to_string().contains("settings.json"), "{error}");
    }

    #[test]
    fn a_password_cannot_be_an_argument() {
        assert!(Wrapper::try_parse_from(["x", "--password", "s3cret"]).is_err());
        assert!(Wrapper::try_parse_from(["x", "--map", "shoe=size"]).is_err());
    }
}
