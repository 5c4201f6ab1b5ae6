//! The links and the PBX, read on a thread of their own while the directory is read.

use std::cell::OnceCell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use log::warn;

use super::RunError;
use crate::directory::KnownPhotos;
use crate::journal::Journal;
use crate::link::Link;
use crate::pbx::{Pbx, PbxSnapshot};
use crate::person::Field;

/// Everything that is known without the directory.
pub(super) struct OwnSide {
    pub(super) links: Vec<Link>,
    pub(super) pbx: PbxSnapshot,
}

/// Gives what the links tell about photos as soon as they are read; `None` where they could not be.
pub(super) type Known<'a> = &'a dyn Fn() -> Option<Arc<KnownPhotos>>;

/// Reads all links of a server and the whole PBX while `directory` works; before it where no thread can be had.
pub(super) fn read_while<T>(
    server_id: i64,
    journal: &Journal,
    pbx: &mut Pbx,
    directory: &mut dyn FnMut(Known<'_>) -> T,
) -> Result<(OwnSide, T), RunError> {
    let beside = journal.beside()?;
    let both = thread::scope(|scope| {
        // The thread alone can tell: when it ends without having told, nobody waits any longer.
        let (tell, told) = sync_channel(1);
        let pbx = &mut *pbx;
        let thread = thread::Builder::new().spawn_scoped(scope, move || read(server_id, &beside, pbx, Some(tell)));
        let thread = thread.map_err(|error| warn!("no thread can be had to read the PBX meanwhile: {error}")).ok()?;
        let photos = OnceCell::new();
        let read = directory(&|| photos.get_or_init(|| told.recv().ok().map(Arc::new)).clone());
        Some(thread.join().unwrap_or_else(|panicked| resume_unwind(panicked)).map(|own| (own, read)))
    });
    match both {
        Some(both) => both,
        None => {
            let own = read(server_id, journal, pbx, None)?;
            let photos = Arc::new(photos_of(&own.links));
            let read = directory(&|| Some(Arc::clone(&photos)));
            Ok((own, read))
        }
    }
}

/// Reads the links, tells of them, and reads the PBX.
fn read(
    server_id: i64,
    journal: &Journal,
    pbx: &mut Pbx,
    tell: Option<SyncSender<KnownPhotos>>,
) -> Result<OwnSide, RunError> {
    let links = journal.links(server_id)?;
    if let Some(tell) = tell {
        // Where the directory has failed nobody asks.
        let _ = tell.send(photos_of(&links));
    }
    Ok(OwnSide { links, pbx: pbx.read()? })
}

/// What the links tell about photos.
pub(super) fn photos_of(links: &[Link]) -> KnownPhotos {
    let with_photo = links.iter().filter(|link| !link.directory[Field::Photo].is_empty());
    KnownPhotos {
        had: with_photo.map(|link| link.key.clone()).collect(),
        marks: links.iter().map(|link| (link.key.clone(), link.change_mark.clone())).collect(),
    }
}
