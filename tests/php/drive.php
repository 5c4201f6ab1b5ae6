<?php

// Does one thing a MikoPBX does with the module: reads it as JSON from stdin and answers with JSON.

declare(strict_types=1);

require_once __DIR__ . '/Globals.php';

use MikoPBX\Common\Models\PbxExtensionModules;
use MikoPBX\Core\System\BeanstalkClient;
use MikoPBX\Core\System\Settings;
use MikoPBX\Core\System\Util;
use Modules\ModuleLdapSync\App\Controllers\ModuleLdapSyncController;
use Modules\ModuleLdapSync\App\Module;
use Modules\ModuleLdapSync\Lib\LdapSyncConf;
use Modules\ModuleLdapSync\Setup\PbxExtensionSetup;
use Phalcon\Assets\Manager;
use Phalcon\Mvc\Dispatcher;
use Phalcon\Mvc\View;

const MODULE = 'ModuleLdapSync';

$request = json_decode((string)stream_get_contents(STDIN), true, 512, JSON_THROW_ON_ERROR);
echo json_encode(handle($request), JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE), "\n";

function handle(array $request): mixed
{
    return match ($request['do']) {
        'install' => withSetup(static fn($setup) => $setup->installModule()),
        'uninstall' => withSetup(static fn($setup) => $setup->uninstallModule($request['keep'])),
        'enable' => enable(),
        'disable' => disable(),
        'boot' => boot(),
        'rest' => rest($request['action'], $request['data']),
        'event' => event($request['data']),
        'workers' => workers(),
        'ping' => ping(),
        'marks' => marks($request['controller'], $request['action'], $request['block']),
        'page' => page($request['action'], $request['parameters'], $request['post']),
    };
}

function withSetup(callable $step): array
{
    $setup = new PbxExtensionSetup(MODULE);
    return ['result' => $step($setup), 'messages' => $setup->getMessages()];
}

function enable(): bool
{
    $conf = new LdapSyncConf();
    // Once in a dry run and once for real.
    $allowed = $conf->onBeforeModuleEnable() && $conf->onBeforeModuleEnable();
    PbxExtensionModules::setDisabled(MODULE, '0');
    $conf->onAfterModuleEnable();
    return $allowed && new Module() instanceof Phalcon\Mvc\ModuleDefinitionInterface;
}

function disable(): bool
{
    $conf = new LdapSyncConf();
    $allowed = $conf->onBeforeModuleDisable();
    PbxExtensionModules::setDisabled(MODULE, '1');
    $conf->onAfterModuleDisable();
    return $allowed;
}

function boot(): bool
{
    $directory = Settings::text('core', 'modulesDir') . '/' . MODULE;
    Util::addRegularWWWRights($directory);
    Util::addExecutableRights("$directory/bin");
    (new LdapSyncConf())->onAfterPbxStarted();
    return true;
}

function rest(string $action, array $data): array
{
    $request = ['processor' => 'modules', 'module' => MODULE, 'action' => $action,
        'data' => $data + ['ip_srv' => '127.0.0.1'], 'REQUEST_METHOD' => 'POST'];
    return (new LdapSyncConf())->moduleRestAPICallback($request)->getResult();
}

function event(array $events): bool
{
    $conf = new LdapSyncConf();
    foreach ($events as $event) {
        $conf->modelsEventChangeData($event);
    }
    return true;
}

/** Where the PBX finds each worker, and how it supervises it. */
function workers(): array
{
    $workers = (new LdapSyncConf())->getModuleWorkers();
    return array_map(static fn($worker) => $worker + ['interval' => $worker['worker']::getCheckInterval(),
        'file' => (new ReflectionClass($worker['worker']))->getFileName()], $workers);
}

function ping(): array
{
    [$worker] = workers();
    $queue = new BeanstalkClient('Ping' . str_replace('\\', '', $worker['worker']));
    return $queue->sendRequest('ping', 5, 1);
}

function marks(string $controller, string $action, string $block): array
{
    $conf = new LdapSyncConf();
    $assets = new Manager();
    $conf->onAfterAssetsPrepared($assets, new Dispatcher($controller, $action));
    return ['scripts' => $assets->collections['footerJS']->files ?? [],
        'template' => $conf->onVoltBlockCompile($controller, $block, new View())];
}

function page(string $action, array $parameters, ?array $post): array
{
    $controller = new ModuleLdapSyncController($post);
    $controller->{$action . 'Action'}(...$parameters);
    return ['view' => $controller->view->picked, 'variables' => $controller->view->variables,
        'styles' => $controller->assets->collections['headerCSS']->files ?? []];
}
