// Entry of the page inside MikoPBX: says where the words are and which view the address asked for, then starts the page.

const root = document.getElementById('module-ldap-sync');
root.dataset.i18n = new URL('i18n/', import.meta.url).href;
if (!window.location.hash && root.dataset.view) window.location.hash = root.dataset.view;
// MikoPBX shows its pages as loading until a form of its own is ready; this page shows that itself.
document.getElementById('content-frame')?.classList.remove('loading');
await import('./main.js');
