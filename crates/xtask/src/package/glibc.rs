//! Which glibc a binary needs at least: the newest version among the symbols it asks for.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::FileHeader;

/// The newest glibc a binary may need: that of Debian 11.
pub(crate) const NEWEST: Version = Version(2, 31);

/// A version of glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The glibc `file` needs; an error when that is too new.
pub(crate) fn check(file: &Path) -> anyhow::Result<Version> {
    let bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let needed = needed(&bytes).with_context(|| format!("{} cannot be understood", file.display()))?;
    ensure!(needed <= NEWEST, "{} needs glibc {needed}, newer than {NEWEST}", file.display());
    Ok(needed)
}

/// The newest of the versions a binary asks for.
fn needed(bytes: &[u8]) -> anyhow::Result<Version> {
    let header = FileHeader64::<Endianness>::parse(bytes).context("this is no 64-bit ELF file")?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let (mut needs, link) = sections.gnu_verneed(endian, bytes)?.context("no symbol has a version")?;
    let strings = sections.strings(endian, bytes, link)?;
    let mut newest = None;
    while let Some((_, mut versions)) = needs.next()? {
        while let Some(version) = versions.next()? {
            let name = String::from_utf8_lossy(version.name(endian, strings)?).into_owned();
            newest = newest.max(parse(&name));
        }
    }
    newest.context("no symbol of glibc is asked for")
}

/// `GLIBC_2.17` and `GLIBC_2.2.5`; other names are versions of other libraries.
fn parse(name: &str) -> Option<Version> {
    let mut numbers = name.strip_prefix("GLIBC_")?.split('.');
    let mut number = || numbers.next()?.parse().ok();
    Some(Version(number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(parse("GLIBC_2.9") < parse("GLIBC_2.17"));
        assert_eq!(parse("GLIBC_2.2.5"), Some(Version(2, 2)));
        assert_eq!(parse("GCC_3.0"), None);
    }

    #[test]
    fn this_test_itself_needs_some_glibc_and_a_text_none() {
        let own = fs::read(std::env::current_exe().expect("a process knows its program")).expect("its bytes");
        assert!(needed(&own).expect("a version") >= Version(2, 2));
        assert!(needed(b"no program").is_err());
    }
}
