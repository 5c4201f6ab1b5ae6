//! The zip: the same entries give the same bytes.

use std::io::{Cursor, Write};

use anyhow::Context;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::contents::Entries;

/// Packs the entries in the order of their names, all with the same time.
pub(crate) fn zip(entries: &Entries) -> anyhow::Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, entry) in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(if entry.executable { 0o755 } else { 0o644 });
        writer.start_file(name.as_str(), options).with_context(|| format!("{name} cannot be packed"))?;
        writer.write_all(&entry.bytes).with_context(|| format!("{name} cannot be packed"))?;
    }
    Ok(writer.finish().context("the zip cannot be ended")?.into_inner())
}
