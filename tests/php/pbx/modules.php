<?php

// What a module's setup and configuration classes are made of in MikoPBX.

declare(strict_types=1);

namespace MikoPBX\Modules {
    use MikoPBX\Common\Models\PbxExtensionModules;

    class PbxExtensionUtils
    {
        public static function isEnabled(string $moduleUniqueID): bool
        {
            return (PbxExtensionModules::findFirstByUniqid($moduleUniqueID)['disabled'] ?? '1') === '0';
        }
    }
}

namespace MikoPBX\PBXCoreREST\Lib {
    class PBXApiResult
    {
        public bool $success = false;
        public array $data = [];
        public array $messages = [];
        public string $processor = '';
        public string $function = '';
        public ?int $httpCode = null;

        public function getResult(): array
        {
            return ['result' => $this->success, 'data' => $this->data, 'messages' => $this->messages,
                'function' => $this->function, 'processor' => $this->processor, 'pid' => getmypid()];
        }
    }
}

namespace MikoPBX\Modules\Config {
    use MikoPBX\Core\System\Settings;
    use MikoPBX\PBXCoreREST\Lib\PBXApiResult;
    use Phalcon\Assets\Manager;
    use Phalcon\Mvc\Dispatcher;
    use Phalcon\Mvc\View;

    abstract class ConfigClass
    {
        protected string $moduleDir;
        protected array $messages = [];

        public function __construct()
        {
            $this->moduleDir = Settings::text('core', 'modulesDir') . '/' . explode('\\', static::class)[1];
        }

        public function moduleRestAPICallback(array $request): PBXApiResult
        {
            $result = new PBXApiResult();
            $result->success = strtoupper($request['action']) === 'CHECK';
            return $result;
        }

        public function getModuleWorkers(): array
        {
            return [];
        }

        public function modelsEventChangeData($data): void
        {
        }

        public function onBeforeModuleEnable(): bool
        {
            return true;
        }

        public function onAfterModuleEnable(): void
        {
        }

        public function onBeforeModuleDisable(): bool
        {
            return true;
        }

        public function onAfterModuleDisable(): void
        {
        }

        public function onAfterPbxStarted(): void
        {
        }

        public function onAfterAssetsPrepared(Manager $assets, Dispatcher $dispatcher): void
        {
        }

        public function onVoltBlockCompile(string $controller, string $blockName, View $view): string
        {
            return '';
        }
    }
}

namespace MikoPBX\Modules\Setup {
    use MikoPBX\Common\Models\PbxExtensionModules;
    use MikoPBX\Common\Models\PbxSettings;
    use MikoPBX\Core\System\Settings;
    use MikoPBX\Core\System\Util;
    use Throwable;

    abstract class PbxExtensionSetupBase
    {
        protected string $moduleUniqueID;
        protected string $moduleDir;
        protected array $messages = [];
        private array $module;
        private array $words;

        public function __construct(string $moduleUniqueID)
        {
            $this->moduleUniqueID = $moduleUniqueID;
            $this->moduleDir = Settings::text('core', 'modulesDir') . '/' . $moduleUniqueID;
            $this->module = json_decode((string)file_get_contents("{$this->moduleDir}/module.json"), true);
            $this->words = require "{$this->moduleDir}/Messages/en.php";
        }

        public function installModule(): bool
        {
            try {
                return $this->checkCompatibility() && $this->activateLicense() && $this->installFiles()
                    && $this->installDB() && $this->fixFilesRights();
            } catch (Throwable $exception) {
                $this->messages[] = (string)$exception;
                return false;
            }
        }

        public function uninstallModule(bool $keepSettings = false): bool
        {
            try {
                return $this->unInstallDB($keepSettings) && $this->unInstallFiles($keepSettings);
            } catch (Throwable $exception) {
                $this->messages[] = (string)$exception;
                return false;
            }
        }

        public function getMessages(): array
        {
            return $this->messages;
        }

        public function checkCompatibility(): bool
        {
            return version_compare($this->module['min_pbx_version'], '2020.2.468') >= 0;
        }

        public function activateLicense(): bool
        {
            return (int)$this->module['lic_product_id'] === 0;
        }

        /** An upgrade puts the kept database over the one of the package. */
        public function installFiles(): bool
        {
            if (is_dir($this->backup())) {
                exec('cp -r ' . escapeshellarg($this->backup()) . '/db/* ' . escapeshellarg("{$this->moduleDir}/db/"));
            }
            return true;
        }

        public function installDB(): bool
        {
            return $this->registerNewModule() && $this->addToSidebar();
        }

        public function fixFilesRights(): bool
        {
            Util::addRegularWWWRights($this->moduleDir);
            Util::addExecutableRights("{$this->moduleDir}/bin");
            return true;
        }

        public function registerNewModule(): bool
        {
            if (PbxExtensionModules::findFirstByUniqid($this->moduleUniqueID) === null) {
                PbxExtensionModules::insert([
                    'uniqid' => $this->moduleUniqueID,
                    'name' => $this->words["Breadcrumb{$this->moduleUniqueID}"],
                    'version' => $this->module['version'],
                    'developer' => $this->module['developer'],
                    'supportemail' => $this->module['support_email'],
                    'path' => '',
                    'description' => $this->words["SubHeader{$this->moduleUniqueID}"],
                    'wiki_links' => json_encode($this->module['wiki_links']),
                    'disabled' => '1',
                    'disableReason' => '',
                    'disableReasonText' => '',
                ]);
            }
            return true;
        }

        public function addToSidebar(): bool
        {
            PbxSettings::setValue("AdditionalMenuItem{$this->moduleUniqueID}", (string)json_encode([
                'uniqid' => $this->moduleUniqueID,
                'group' => 'modules',
                'iconClass' => 'puzzle',
                'caption' => "Breadcrumb{$this->moduleUniqueID}",
                'showAtSidebar' => true,
            ]));
            return true;
        }

        public function unInstallDB(bool $keepSettings = false): bool
        {
            PbxExtensionModules::delete($this->moduleUniqueID);
            return true;
        }

        public function unInstallFiles(bool $keepSettings = false): bool
        {
            exec('rm -rf ' . escapeshellarg($this->backup()));
            if ($keepSettings) {
                mkdir($this->backup(), 0755, true);
                exec('cp -r ' . escapeshellarg("{$this->moduleDir}/db") . ' ' . escapeshellarg($this->backup()));
            }
            exec('rm -rf ' . escapeshellarg($this->moduleDir));
            return true;
        }

        private function backup(): string
        {
            return dirname($this->moduleDir) . "/Backup/{$this->moduleUniqueID}";
        }
    }
}
