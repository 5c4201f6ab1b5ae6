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
    let (tell, told) = sync_channel(1);
    let photos = OnceCell::new();
    let known = || photos.get_or_init(|| told.recv().ok().map(Arc::new)).clone();
    let beside = journal.beside()?;
    let both = thread::scope(|scope| {
        let (tell, pbx) = (tell.clone(), &mut *pbx);
        let thread = thread::Builder::new().spawn_scoped(scope, move || read(server_id, &beside, pbx, tell));
        let thread = thread.map_err(|error| warn!("no thread can be had to read the PBX meanwhile: {error}")).ok()?;
        let read = directory(&known);
        Some(thread.join().unwrap_or_else(|panicked| resume_unwind(panicked)).map(|own| (own, read)))
    });
    match both {
        Some(both) => both,
        None => {
            let own = read(server_id, journal, pbx, tell)?;
            Ok((own, directory(&known)))
        }
    }
}

fn read(server_id: i64, journal: &Journal, pbx: &mut Pbx, tell: SyncSender<KnownPhotos>) -> Result<OwnSide, RunError> {
    let links = journal.links(server_id)?;
    // Nobody waits for it any more where the directory has failed.
    let _ = tell.send(photos_of(&links));
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
