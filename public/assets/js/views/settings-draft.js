// The values of the server form: kept in memory while they are not saved, so that nothing typed is lost.

/** Kept instead of a stored password, which never leaves the module. */
export const STORED_PASSWORD = 'xxxxxxxx';

export const TYPES = ['ActiveDirectory', 'OpenLDAP', '389DirectoryServer', 'FreeIPA'];

/** The standard ports of LDAP (RFC 4513 and IANA: ldap 389, ldaps 636). */
export const PORTS = { ldaps: 636, starttls: 389, none: 389 };

export const ATTRIBUTES = [
  'userNameAttribute', 'userExtensionAttribute', 'userMobileAttribute', 'userEmailAttribute',
  'userAvatarAttribute', 'userAccountControl', 'userPasswordAttribute', 'userEmployeeNumberAttribute',
];

/** The fields that have rules, with the attribute each is mapped to. */
export const FIELDS = {
  name: 'userNameAttribute', number: 'userExtensionAttribute', email: 'userEmailAttribute', mobile: 'userMobileAttribute',
  photo: 'userAvatarAttribute', secret: 'userPasswordAttribute',
};

/** Which way a field's changes travel; a name always travels. */
export const DIRECTIONS = ['two-way', 'directory', 'pbx', 'off'];

/** What stands when both sides changed. */
export const BOTH_CHANGED = ['newest', 'directory', 'pbx', 'ask'];

const NUMBERS = ['serverPort', 'numberFrom', 'numberTo', 'syncInterval', 'stopLeaversAfter', 'deleteLeaversAfter', 'mostNewPeople'];

const FILTERS = {
  ActiveDirectory: '(&(objectCategory=person)(objectClass=user))',
  OpenLDAP: '(objectClass=inetOrgPerson)',
  '389DirectoryServer': '(objectClass=person)',
  FreeIPA: '(objectClass=person)',
};

function forEachField(value) {
  return Object.fromEntries(Object.keys(FIELDS).map((field) => [field, value]));
}

const BASE = {
  serverName: '', caCertificate: '', verifyCertificate: true, pinnedCertificate: '', allowPlain: false,
  administrativeLogin: '', administrativePassword: '', baseDN: '', organizationalUnit: '', updateAttributes: false,
  autosync: false, defaultRegion: '', numberFrom: '', numberTo: '', poolWhenTaken: false, forwardToMobile: true, syncInterval: 60,
  completeRunAt: '03:00', quietFrom: '', quietTo: '',
  fieldDirections: forEachField('two-way'), fieldConflicts: forEachField('newest'), stopLeaversAfter: '', deleteLeaversAfter: '', mostNewPeople: 100,
};

/** What a directory of this type usually wants. */
export function preset(type) {
  const activeDirectory = type === 'ActiveDirectory';
  const locks = { ActiveDirectory: 'userAccountControl', '389DirectoryServer': 'nsAccountLock', FreeIPA: 'nsAccountLock' };
  return {
    serverPort: PORTS.ldaps,
    security: 'ldaps',
    userFilter: FILTERS[type],
    attributes: {
      userNameAttribute: 'displayName',
      userExtensionAttribute: 'telephoneNumber',
      userMobileAttribute: 'mobile',
      userEmailAttribute: 'mail',
      userAvatarAttribute: activeDirectory ? 'thumbnailPhoto' : 'jpegPhoto',
      userAccountControl: locks[type] || '',
      userPasswordAttribute: '',
      userEmployeeNumberAttribute: activeDirectory ? 'employeeID' : 'employeeNumber',
    },
  };
}

/** The values of a new server. */
export function newServer() {
  return { ...structuredClone(BASE), ldapType: TYPES[0], ...preset(TYPES[0]), id: null };
}

/** The form's values for the settings `get-server` answers. */
export function fromSettings(settings) {
  const type = TYPES.includes(settings.ldapType) ? settings.ldapType : TYPES[0];
  const values = { ...structuredClone(BASE), ...preset(type), ldapType: type };
  for (const key of [...Object.keys(values), 'id']) {
    if (key in settings && key !== 'attributes' && settings[key] !== null) values[key] = settings[key];
  }
  for (const key of ['fieldDirections', 'fieldConflicts']) values[key] = { ...BASE[key], ...settings[key] };
  for (const key of ATTRIBUTES) values.attributes[key] = (settings.attributes || settings)[key] ?? '';
  for (const [key, standard] of Object.entries(BASE)) {
    if (typeof standard === 'boolean') values[key] = [true, 1, '1', 'true', 'on'].includes(values[key]);
  }
  return values;
}

/** The values with those of another type's preset, where they still are what the old type's preset said, or empty. */
export function changeType(values, type) {
  const before = preset(values.ldapType);
  const after = preset(type);
  const follows = (value, standard) => value === '' || String(value) === String(standard);
  const changed = { ...values, ldapType: type, attributes: { ...values.attributes } };
  if (follows(values.userFilter, before.userFilter)) changed.userFilter = after.userFilter;
  for (const key of ATTRIBUTES) {
    if (follows(values.attributes[key], before.attributes[key])) changed.attributes[key] = after.attributes[key];
  }
  return changed;
}

/** The values with another kind of encryption; a standard port follows it. */
export function changeSecurity(values, security) {
  const standard = String(values.serverPort) === '' || String(values.serverPort) === String(PORTS[values.security]);
  return { ...values, security, serverPort: standard ? PORTS[security] : values.serverPort };
}

/** The body of `config-save` and `test-connection`. An empty number is null; an empty password is left out. */
export function toBody(values) {
  const body = structuredClone(values);
  for (const key of NUMBERS) {
    const text = String(values[key]).trim();
    if (text === '') body[key] = null;
    else body[key] = Number.isNaN(Number(text)) ? text : Number(text);
  }
  if (body.administrativePassword === '') delete body.administrativePassword;
  return body;
}

/** Where the draft of the server `id` (null for a new one) is kept. */
export function draftKey(id) {
  return id === null || id === undefined ? 'new' : String(id);
}

/** Puts the fingerprint the administrator trusts into the draft of the server `id`. */
export function rememberPin(app, id, sha256) {
  const key = draftKey(id);
  app.drafts.set(key, { ...app.drafts.get(key), pinnedCertificate: sha256 });
}
