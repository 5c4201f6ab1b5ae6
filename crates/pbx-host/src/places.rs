//! Where the library and the page's files are.

use std::env;
use std::path::{Path, PathBuf};

/// File name of the library.
pub const LIBRARY: &str = "libmodule_ldap_sync.so";

/// Environment variable that names the library.
pub const LIBRARY_VARIABLE: &str = "LDAP_SYNC_LIBRARY";

/// The library: the one named, else beside this program, else in the directory above it and in `../lib`.
///
/// The error names every place that was looked at.
pub fn library(named: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let directory = program_directory()?;
    // The directory above is where cargo leaves the library, seen from `target/<profile>/examples` and `deps`.
    let places = [directory.join(LIBRARY), directory.join("..").join(LIBRARY), directory.join("../lib").join(LIBRARY)];
    places.iter().find(|place| place.is_file()).cloned().ok_or_else(|| {
        let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        format!(
            "the library {LIBRARY} was not found (looked for {}): name it with --library or {LIBRARY_VARIABLE}",
            looked.join(", ")
        )
    })
}

/// The directory of the page's files: the one named, else `public` beside this program or above it, else the
/// repository's when cargo runs the program.
pub fn public(named: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = named {
        return if path.is_dir() {
            Ok(path.to_owned())
        } else {
            Err(format!("{} is not a directory: --public names the directory of the page's files", path.display()))
        };
    }
    let directory = program_directory()?;
    let repository = env::var_os("CARGO_MANIFEST_DIR").map(|crate_dir| PathBuf::from(crate_dir).join("../../public"));
    let places = [Some(directory.join("public")), Some(directory.join("../public")), repository, checkout(&directory)];
    places.into_iter().flatten().find(|place| place.is_dir()).ok_or_else(|| {
        format!("the page's files were not found beside {}: name their directory with --public", directory.display())
    })
}

fn program_directory() -> Result<PathBuf, String> {
    let program = env::current_exe().map_err(|error| format!("cannot find out where this program is: {error}"))?;
    Ok(program.parent().unwrap_or(Path::new("/")).to_owned())
}

/// The `public` directory of the checkout whose `target` directory holds the program.
fn checkout(program_directory: &Path) -> Option<PathBuf> {
    let target = program_directory.ancestors().find(|directory| directory.ends_with("target"))?;
    Some(target.parent()?.join("public"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_library_is_taken_as_it_is() {
        assert_eq!(library(Some(Path::new("/x/y.so"))).unwrap(), Path::new("/x/y.so"));
    }

    #[test]
    fn a_public_directory_that_is_none_is_refused() {
        let error = public(Some(Path::new("/nonexistent/public"))).unwrap_err();
        assert!(error.contains("/nonexistent/public"), "{error}");
    }

    #[test]
    fn the_checkout_is_found_above_target() {
        assert_eq!(checkout(Path::new("/c/target/debug/deps")), Some(PathBuf::from("/c/public")));
        assert_eq!(checkout(Path::new("/usr/bin")), None);
    }
}
