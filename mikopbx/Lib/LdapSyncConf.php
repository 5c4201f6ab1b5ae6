<?php
/*
 * SPDX-License-Identifier: GPL-3.0-or-later
 * ModuleLdapSync: keeps the employees of MikoPBX and a directory in step.
 */

declare(strict_types=1);

namespace Modules\ModuleLdapSync\Lib;

use MikoPBX\Common\Models\ExtensionForwardingRights;
use MikoPBX\Common\Models\Extensions;
use MikoPBX\Common\Models\ExternalPhones;
use MikoPBX\Common\Models\Sip;
use MikoPBX\Common\Models\Users;
use MikoPBX\Core\System\BeanstalkClient;
use MikoPBX\Core\Workers\Cron\WorkerSafeScriptsCore;
use MikoPBX\Modules\Config\ConfigClass;
use MikoPBX\PBXCoreREST\Lib\PBXApiResult;
use Modules\ModuleLdapSync\Lib\Workers\WorkerLdapSync;
use Phalcon\Assets\Manager;
use Phalcon\Mvc\Dispatcher;
use Phalcon\Mvc\View;

/**
 * The module's part in MikoPBX: hands calls and events on to the host program.
 */
class LdapSyncConf extends ConfigClass
{
    /** The tube the worker takes the PBX's edits from. */
    private const EDITS_TUBE = 'ModuleLdapSync-edits';

    /** Seconds until the queue gives an edit to somebody else again. */
    private const EDIT_TIME_TO_RUN = 600;

    /** Models an employee consists of. */
    private const EMPLOYEE_MODELS = [
        Users::class,
        Extensions::class,
        Sip::class,
        ExternalPhones::class,
        ExtensionForwardingRights::class,
    ];

    private ?BeanstalkClient $edits = null;

    /** Every action of the page; `get-actions` names them. */
    public function moduleRestAPICallback(array $request): PBXApiResult
    {
        $result = new PBXApiResult();
        $result->processor = __METHOD__;
        $result->function = (string)($request['action'] ?? '');
        if (strcasecmp($result->function, 'check') === 0) {
            return parent::moduleRestAPICallback($request);
        }
        $data = is_array($request['data'] ?? null) ? $request['data'] : [];
        unset($data['ip_srv']);
        $answer = HostProgram::ofThisModule()->request($result->function, $data);
        $result->success = $answer['result'];
        $result->data = is_array($answer['data']) ? $answer['data'] : [];
        $result->messages = $answer['messages'];
        return $result;
    }

    public function getModuleWorkers(): array
    {
        return [['type' => WorkerSafeScriptsCore::CHECK_BY_BEANSTALK, 'worker' => WorkerLdapSync::class]];
    }

    /** Edits of employees go into the worker's tube; never a process per event. */
    public function modelsEventChangeData($data): void
    {
        if (!is_array($data) || !in_array($data['model'] ?? '', self::EMPLOYEE_MODELS, true)) {
            return;
        }
        $this->edits ??= new BeanstalkClient(self::EDITS_TUBE);
        // The worker may take it much later, and which edit is newer is decided by the time of the edit.
        $data['at'] = (int)(microtime(true) * 1000);
        $this->edits->publish(json_encode($data), null, 1024, 0, self::EDIT_TIME_TO_RUN);
    }

    /** The boot of the PBX made every file of the module readable; any call protects the key again. */
    public function onAfterPbxStarted(): void
    {
        HostProgram::ofThisModule()->request('get-status', []);
    }

    /** The sign on the list of employees and the line in their form. */
    public function onAfterAssetsPrepared(Manager $assets, Dispatcher $dispatcher): void
    {
        $page = $dispatcher->getControllerName() . '/' . $dispatcher->getActionName();
        if (in_array($page, ['Extensions/index', 'Extensions/modify'], true)) {
            $assets->collection('footerJS')->addJs('js/cache/ModuleLdapSync/employees.js', true);
        }
    }

    public function onVoltBlockCompile(string $controller, string $blockName, View $view): string
    {
        $isEmployeeForm = $controller === 'Extensions' && $blockName === 'GeneralTabFields';
        return $isEmployeeForm ? $this->moduleDir . '/App/Views/Extensions/kept-in-step' : '';
    }
}
