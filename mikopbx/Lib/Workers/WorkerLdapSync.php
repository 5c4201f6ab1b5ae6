<?php
/*
 * SPDX-License-Identifier: GPL-3.0-or-later
 * ModuleLdapSync: keeps the employees of MikoPBX and a directory in step.
 */

declare(strict_types=1);

namespace Modules\ModuleLdapSync\Lib\Workers;

use MikoPBX\Core\System\BeanstalkClient;
use MikoPBX\Core\Workers\WorkerBase;
use MikoPBX\Modules\PbxExtensionUtils;
use Modules\ModuleLdapSync\Lib\HostProgram;
use RuntimeException;

require_once 'Globals.php';

/**
 * Keeps the host program's worker running while the module is enabled, and answers the PBX's supervision.
 *
 * When the program dies this worker fails with it: the PBX counts that and starts both again. The program ends when this
 * process ends, in whatever way, because its input is closed then.
 */
class WorkerLdapSync extends WorkerBase
{
    /** Seconds between two looks whether the module is still enabled. */
    private const ENABLED_CHECK_SECONDS = 5;

    public static function getCheckInterval(): int
    {
        return 15;
    }

    public function start(array $argv): void
    {
        $program = HostProgram::ofThisModule()->startWorker();
        if ($program === null) {
            throw new RuntimeException('bin/pbx-host of ModuleLdapSync cannot be started; install the module again');
        }
        $pingTube = $this->makePingTubeName(self::class);
        $queue = new BeanstalkClient($pingTube);
        $queue->subscribe($pingTube, [$this, 'pingCallBack']);
        $checked = time();
        while ($this->needRestart === false) {
            $queue->wait(1);
            $program->read(0);
            if (!$program->isRunning()) {
                $program->stop();
                throw new RuntimeException('the worker of ModuleLdapSync ended by itself; its last words are in the system log');
            }
            if (time() - $checked >= self::ENABLED_CHECK_SECONDS) {
                $checked = time();
                if (!PbxExtensionUtils::isEnabled('ModuleLdapSync')) {
                    break;
                }
            }
        }
        $program->stop();
    }
}

WorkerLdapSync::startWorker($argv ?? []);
