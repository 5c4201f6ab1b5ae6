// Marks on MikoPBX's own pages: a sign at each employee kept in step on the list, a line in the employee's form.

(function () {
  const PAGE = 1000;
  const FRESH_MS = 60000;
  const MARK = 'module-ldap-sync-mark';

  let asked = null;
  let askedAt = 0;

  function ask(action, body) {
    return new Promise((resolve, reject) => {
      // MikoPBX adds the administrator's token to every jQuery request.
      $.ajax({
        url: `${Config.pbxUrl}/pbxcore/api/modules/ModuleLdapSync/${action}`,
        method: 'POST',
        contentType: 'application/json',
        dataType: 'json',
        data: JSON.stringify(body),
      }).done((answer) => (answer && answer.result ? resolve(answer.data) : reject(answer))).fail(reject);
    });
  }

  /** Ids (m_Users.id) of everybody one server keeps in step, in pages. */
  async function peopleOf(serverId) {
    const ids = [];
    for (let page = 1; ; page += 1) {
      const { people, total } = await ask('get-people', { id: serverId, page, perPage: PAGE });
      ids.push(...people.map((person) => String(person.userId)));
      if (people.length === 0 || page * PAGE >= total) return ids;
    }
  }

  /** Everybody kept in step; asked for at most once a minute. */
  function kept() {
    if (asked && Date.now() - askedAt < FRESH_MS) return asked;
    askedAt = Date.now();
    asked = ask('get-status', {})
      .then(({ servers }) => Promise.all(servers.map((server) => peopleOf(server.id))))
      .then((lists) => new Set(lists.flat()))
      // Without an answer the PBX's own page stays as it is.
      .catch(() => new Set());
    return asked;
  }

  function mark(row) {
    const cell = row.querySelectorAll('td')[1];
    if (!cell || cell.querySelector(`.${MARK}`)) return;
    const sign = document.createElement('i');
    sign.className = `address book outline grey icon ${MARK}`;
    sign.title = globalTranslate.module_ldap_KeptInStep;
    sign.setAttribute('aria-label', sign.title);
    sign.setAttribute('role', 'img');
    cell.append(' ', sign);
  }

  async function markList() {
    const ids = await kept();
    document.querySelectorAll('#extensions-table tr[data-extension-id]').forEach((row) => {
      if (ids.has(row.dataset.extensionId)) mark(row);
    });
  }

  async function showLine(line) {
    const [, id] = window.location.pathname.match(/\/extensions\/modify\/(\d+)/i) || [];
    if (id && (await kept()).has(id)) line.hidden = false;
  }

  $(document).ready(() => {
    $('#extensions-table').on('draw.dt', markList);
    if (document.getElementById('extensions-table')) markList();
    const line = document.getElementById('module-ldap-sync-kept');
    if (line) showLine(line);
  });
}());
