<?php
/*
 * SPDX-License-Identifier: GPL-3.0-or-later
 * ModuleLdapSync: keeps the employees of MikoPBX and a directory in step.
 */

declare(strict_types=1);

namespace Modules\ModuleLdapSync\Setup;

use MikoPBX\Core\System\Util;
use MikoPBX\Modules\Setup\PbxExtensionSetupBase;
use Modules\ModuleLdapSync\Lib\HostProgram;

/**
 * Install, upgrade and uninstall: what MikoPBX does with every module, and the library's own hooks.
 */
class PbxExtensionSetup extends PbxExtensionSetupBase
{
    /** The library's status for "another run is under way". */
    private const BUSY = 4;

    /** The module's own database first: a module that cannot make it is not registered. */
    public function installDB(): bool
    {
        // The zip brings no right to execute, and MikoPBX gives it after this step only.
        Util::addExecutableRights($this->moduleDir . '/bin');
        return $this->succeeded($this->call(['hook' => 'install'])) && parent::installDB();
    }

    /** MikoPBX makes every file readable; any call protects the key of the stored passwords again. */
    public function fixFilesRights(): bool
    {
        return parent::fixFilesRights()
            && $this->succeeded($this->call(['hook' => 'request', 'action' => 'get-status']));
    }

    /** Refused only while a synchronisation is under way: a broken module must be removable. */
    public function unInstallDB(bool $keepSettings = false): bool
    {
        $answer = $this->call(['hook' => 'uninstall', 'keep' => $keepSettings]);
        if ($answer['status'] === self::BUSY) {
            return $this->succeeded($answer);
        }
        return parent::unInstallDB($keepSettings);
    }

    /** The copy of `db/` that MikoPBX keeps for the next install holds the key too, so it is for its owner alone. */
    public function unInstallFiles(bool $keepSettings = false): bool
    {
        $before = umask(0077);
        try {
            return parent::unInstallFiles($keepSettings);
        } finally {
            umask($before);
        }
    }

    private function call(array $call): array
    {
        return (new HostProgram($this->moduleDir))->call($call);
    }

    private function succeeded(array $answer): bool
    {
        foreach ($answer['result'] ? [] : $answer['messages']['error'] as $error) {
            $this->messages[] = is_array($error) ? implode(': ', $error) : $error;
        }
        return $answer['result'];
    }
}
