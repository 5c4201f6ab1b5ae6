//! Whether the directory lets a person sign in.
//!
//! | source | disabled | expired |
//! |---|---|---|
//! | Active Directory `userAccountControl` | flag ACCOUNTDISABLE, 0x2 (MS-ADTS 2.2.16) | |
//! | Active Directory `accountExpires` | | a FILETIME in the past; 0 and 0x7FFFFFFFFFFFFFFF mean never |
//! | `nsAccountLock` (389-ds, FreeIPA) | `TRUE` | |
//! | `pwdAccountLockedTime` (OpenLDAP, password policy) | the one value `000001010000Z`, or any other value | |
//! | any other mapped attribute | `true`, `yes`, `1`, `on`, `y`, `t`, `locked`, `disabled`, `inactive`, `suspended`, `blocked`, `terminated` | `expired` |
//!
//! Every other value, and the mere presence of a mapped attribute, means an account in use.

use sync_core::person::AccountState;

use crate::entry::RawEntry;
use crate::settings::{ServerSettings, Vendor};

/// ACCOUNTDISABLE of `userAccountControl`.
const ACCOUNT_DISABLED: i64 = 0x2;
/// 1 January 1970 as a FILETIME: 100-nanosecond steps since 1 January 1601.
const UNIX_EPOCH_AS_FILETIME: i64 = 116_444_736_000_000_000;
/// 100-nanosecond steps in a millisecond.
const FILETIME_PER_MILLISECOND: i64 = 10_000;

const DISABLED_WORDS: [&str; 12] =
    ["true", "yes", "1", "on", "y", "t", "locked", "disabled", "inactive", "suspended", "blocked", "terminated"];

/// The attributes that must be read to know an account's status.
pub(crate) fn attributes(settings: &ServerSettings) -> Vec<&str> {
    let mut names = match settings.vendor {
        Vendor::ActiveDirectory => vec!["userAccountControl", "accountExpires"],
        Vendor::OpenLdap => vec![],
        Vendor::DirectoryServer389 | Vendor::FreeIpa => vec!["nsAccountLock"],
    };
    let mapped = settings.attributes.account_status.as_str();
    if !mapped.is_empty() && !names.iter().any(|name| name.eq_ignore_ascii_case(mapped)) {
        names.push(mapped);
    }
    names
}

/// The account's status; `now` is Unix time in milliseconds.
pub(crate) fn state(settings: &ServerSettings, entry: &RawEntry, now: i64) -> AccountState {
    let states = attributes(settings).into_iter().map(|name| by_attribute(name, entry, now));
    states.fold(AccountState::Active, worst)
}

fn worst(one: AccountState, other: AccountState) -> AccountState {
    match (one, other) {
        (AccountState::Disabled, _) | (_, AccountState::Disabled) => AccountState::Disabled,
        (AccountState::Expired, _) | (_, AccountState::Expired) => AccountState::Expired,
        _ => AccountState::Active,
    }
}

fn by_attribute(name: &str, entry: &RawEntry, now: i64) -> AccountState {
    let Some(value) = entry.texts(name).into_iter().next() else { return AccountState::Active };
    match name.to_ascii_lowercase().as_str() {
        "useraccountcontrol" => by_flags(&value),
        "accountexpires" => by_end_date(&value, now),
        "pwdaccountlockedtime" => AccountState::Disabled,
        _ => by_word(&value),
    }
}

fn by_flags(value: &str) -> AccountState {
    match value.parse::<i64>() {
        Ok(flags) if flags & ACCOUNT_DISABLED != 0 => AccountState::Disabled,
        _ => AccountState::Active,
    }
}

fn by_end_date(value: &str, now: i64) -> AccountState {
    match value.parse::<i64>() {
        Err(_) | Ok(0 | i64::MAX) => AccountState::Active,
        Ok(end) if end.saturating_sub(UNIX_EPOCH_AS_FILETIME) / FILETIME_PER_MILLISECOND <= now => {
            AccountState::Expired
        }
        Ok(_) => AccountState::Active,
    }
}

fn by_word(value: &str) -> AccountState {
    let value = value.trim().to_lowercase();
    if DISABLED_WORDS.contains(&value.as_str()) {
        AccountState::Disabled
    } else if value == "expired" {
        AccountState::Expired
    } else {
        AccountState::Active
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_settings;

    /// 21 November 2026, 00:00 UTC.
    const NOW: i64 = 1_795_219_200_000;

    #[track_caller]
    fn check(vendor: Vendor, mapped: &str, attributes: &[(&str, &str)], expected: AccountState) {
        let mut settings = test_settings(vendor);
        settings.attributes.account_status = mapped.to_owned();
        let attributes: Vec<(&str, &[u8])> = attributes.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        assert_eq!(state(&settings, &RawEntry::for_tests("cn=a", &attributes), NOW), expected, "{attributes:?}");
    }

    #[test]
    fn active_directory_tells_by_flag_and_end_date() {
        use AccountState::{Active, Disabled, Expired};
        let check = |attributes, expected| check(Vendor::ActiveDirectory, "userAccountControl", attributes, expected);
        check(&[("userAccountControl", "512")], Active);
        check(&[("userAccountControl", "514")], Disabled);
        check(&[("userAccountControl", "66050")], Disabled);
        check(&[("userAccountControl", "-2147483134")], Disabled);
        check(&[("userAccountControl", "x")], Active);
        check(&[("accountExpires", "0")], Active);
        check(&[("accountExpires", "9223372036854775807")], Active);
        check(&[("accountExpires", "133000000000000000")], Expired);
        check(&[("accountExpires", "135000000000000000")], Active);
        check(&[("accountExpires", "133000000000000000"), ("userAccountControl", "514")], Disabled);
        check(&[("accountExpires", "-9223372036854775808")], Expired);
        check(&[], Active);
    }

    #[test]
    fn other_servers_tell_by_the_value_of_an_attribute() {
        use AccountState::{Active, Disabled, Expired};
        check(Vendor::DirectoryServer389, "", &[("nsAccountLock", "TRUE")], Disabled);
        check(Vendor::FreeIpa, "", &[("nsAccountLock", "true")], Disabled);
        check(Vendor::FreeIpa, "", &[("nsAccountLock", "FALSE")], Active);
        check(Vendor::OpenLdap, "", &[("nsAccountLock", "TRUE")], Active);
        check(Vendor::OpenLdap, "pwdAccountLockedTime", &[("pwdAccountLockedTime", "000001010000Z")], Disabled);
        check(Vendor::OpenLdap, "employeeType", &[("employeeType", "Inactive")], Disabled);
        check(Vendor::OpenLdap, "employeeType", &[("employeeType", "contractor")], Active);
        check(Vendor::OpenLdap, "employeeType", &[("employeeType", "expired")], Expired);
        check(Vendor::OpenLdap, "employeeType", &[("employeeType", "0")], Active);
        check(Vendor::OpenLdap, "loginDisabled", &[("LoginDisabled", "yes")], Disabled);
    }
}
