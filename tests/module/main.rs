//! The module from outside: real directories, a PBX database, the library through its C ABI, the helper, the PHP side and
//! the page. One program, so that everything is linked once and the tests that wait for servers wait side by side.

mod actions;
mod announcements;
mod bad_directory;
mod bad_pbx;
mod both_directions_389ds;
mod both_directions_samba;
mod both_directions_slapd;
mod boundary;
mod browse;
mod changed_settings;
mod checker;
mod concurrency;
mod crash;
mod crash_both_sides;
mod first_sync_389ds;
mod first_sync_embedded;
mod first_sync_samba;
mod first_sync_slapd;
mod held_runs;
mod lost_rights;
mod mikopbx_package;
mod mikopbx_page;
mod mikopbx_php;
mod mikopbx_rights;
mod mikopbx_services;
mod one_search;
mod page;
mod previewed;
mod support;
mod taking_over;
mod tick;
mod tidy;
mod two_directories;
mod updates;
mod write_back;
