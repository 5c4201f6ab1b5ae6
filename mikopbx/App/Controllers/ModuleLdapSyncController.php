<?php
/*
 * SPDX-License-Identifier: GPL-3.0-or-later
 * ModuleLdapSync: keeps the employees of MikoPBX and a directory in step.
 */

declare(strict_types=1);

namespace Modules\ModuleLdapSync\App\Controllers;

use MikoPBX\AdminCabinet\Controllers\BaseController;
use Modules\ModuleLdapSync\Lib\HostProgram;

/**
 * The module's page. Its routes are those of earlier releases, so that roles made for them keep working; the page itself
 * asks the REST interface for everything.
 */
class ModuleLdapSyncController extends BaseController
{
    public bool $showModuleStatusToggle = true;

    public function indexAction(): void
    {
        $this->showPage('');
    }

    public function modifyAction(?string $id = null): void
    {
        $this->showPage(empty($id) ? '#/servers/new' : '#/servers/' . rawurlencode($id) . '/settings');
    }

    public function saveAction(): void
    {
        $this->forwardPost('config-save', (array)$this->request->getPost());
    }

    public function enableAction(string $id): void
    {
        $this->forwardPost('set-autosync', ['id' => $id, 'autosync' => true]);
    }

    public function disableAction(string $id): void
    {
        $this->forwardPost('set-autosync', ['id' => $id, 'autosync' => false]);
    }

    public function deleteAction(string $id): void
    {
        $this->forwardPost('delete-server', ['id' => $id]);
    }

    /** @param string $startView the part of the address that names a view of the page */
    private function showPage(string $startView): void
    {
        $module = json_decode((string)file_get_contents(dirname(__DIR__, 2) . '/module.json'), true);
        $assets = 'assets/js/cache/ModuleLdapSync/' . $module['version'];
        $this->assets->collection('headerCSS')->addCss('css/cache/ModuleLdapSync/ldap-sync.css', true);
        $this->view->setVar('pageScript', $this->url->get($assets . '/mikopbx.js'));
        $this->view->setVar('startView', $startView);
        $this->view->setVar('logoImagePath', $this->url->get('assets/img/cache/ModuleLdapSync/icon.svg'));
        $this->view->pick('Modules/ModuleLdapSync/ModuleLdapSync/index');
    }

    /** Only what a form or a button sends changes anything; a link does not. */
    private function forwardPost(string $action, array $data): void
    {
        if (!$this->request->isPost()) {
            $this->showPage('');
            return;
        }
        $answer = HostProgram::ofThisModule()->request($action, $data);
        $this->view->setVar('success', $answer['result']);
        $this->view->setVar('messages', $answer['messages']);
    }
}
