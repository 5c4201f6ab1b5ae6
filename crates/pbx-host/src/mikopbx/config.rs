//! MikoPBX's settings file: where its database, its directories and its services are.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::MODULE_ID;

/// Where MikoPBX keeps the file.
pub const SETTINGS_FILE: &str = "/etc/inc/mikopbx-settings.json";

/// What this program needs of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PbxConfig {
    /// The PBX's database.
    pub database: PathBuf,
    /// The directory of this module.
    pub module_dir: PathBuf,
    /// The media directory, with the photos.
    pub media_dir: PathBuf,
    /// beanstalkd, as `host:port`.
    pub beanstalk: String,
    /// Redis, as `host:port`.
    pub redis: String,
}

impl PbxConfig {
    /// Reads the file; the error names it and what is missing. It is read at each start, because MikoPBX puts the
    /// storage's place into it while it boots.
    pub fn read(file: &Path) -> Result<PbxConfig, String> {
        let text = fs::read_to_string(file)
            .map_err(|error| format!("MikoPBX's settings {} cannot be read: {error}", file.display()))?;
        PbxConfig::parse(&text).map_err(|reason| format!("MikoPBX's settings {}: {reason}", file.display()))
    }

    fn parse(text: &str) -> Result<PbxConfig, String> {
        let settings: Value = serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))?;
        let path = |section: &str, name: &str| wanted(&settings, section, name).map(PathBuf::from);
        let address = |section: &str| {
            Ok::<String, String>(format!("{}:{}", wanted(&settings, section, "host")?, port(&settings, section)?))
        };
        Ok(PbxConfig {
            database: path("database", "dbfile")?,
            module_dir: path("core", "modulesDir")?.join(MODULE_ID),
            media_dir: path("asterisk", "mediadir")?,
            beanstalk: address("beanstalk")?,
            redis: address("redis")?,
        })
    }
}

fn wanted(settings: &Value, section: &str, name: &str) -> Result<String, String> {
    match settings[section][name].as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("there is no {section}.{name}")),
    }
}

/// A port, which stands there as a number or as a text.
fn port(settings: &Value, section: &str) -> Result<u16, String> {
    let value = &settings[section]["port"];
    let number = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| u16::try_from(number).ok()),
    };
    number.ok_or_else(|| format!("{section}.port is no port: {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = r#"{
        "database": {"dbfile": "/cf/conf/mikopbx.db"},
        "core": {"modulesDir": "/storage/usbdisk1/mikopbx/custom_modules"},
        "asterisk": {"mediadir": "/storage/usbdisk1/mikopbx/media"},
        "beanstalk": {"host": "127.0.0.1", "port": 4229},
        "redis": {"host": "127.0.0.1", "port": "6379"}
    }"#;

    #[test]
    fn ports_come_as_numbers_and_as_texts() {
        let config = PbxConfig::parse(SETTINGS).unwrap();
        assert_eq!((config.beanstalk.as_str(), config.redis.as_str()), ("127.0.0.1:4229", "127.0.0.1:6379"));
        assert_eq!(config.module_dir, Path::new("/storage/usbdisk1/mikopbx/custom_modules/ModuleLdapSync"));
    }

    #[test]
    fn what_is_missing_is_named_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("settings.json");
        let error = PbxConfig::read(&file).unwrap_err();
        assert!(error.contains("settings.json") && error.contains("cannot be read"), "{error}");
        fs::write(&file, SETTINGS.replace("mediadir", "other")).unwrap();
        let error = PbxConfig::read(&file).unwrap_err();
        assert!(error.contains("settings.json: there is no asterisk.mediadir"), "{error}");
        let error = PbxConfig::parse(&SETTINGS.replace("4229", "70000")).unwrap_err();
        assert!(error.contains("beanstalk.port is no port: 70000"), "{error}");
    }
}
