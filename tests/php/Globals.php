<?php

// Stands in for MikoPBX's Globals.php: its base classes with the signatures modules are written against, and nothing
// more behind them than the tests of this module need. LDAP_SYNC_PBX_SETTINGS names the PBX's settings file.

declare(strict_types=1);

error_reporting(E_ALL);
set_error_handler(static function (int $level, string $message, string $file, int $line): bool {
    // Silenced errors are the caller's; every other one is a fault of the module or of these classes.
    if ((error_reporting() & $level) === 0) {
        return false;
    }
    throw new ErrorException($message, 0, $level, $file, $line);
});

foreach (['phalcon', 'models', 'system', 'modules', 'workers', 'web'] as $part) {
    require_once __DIR__ . "/pbx/$part.php";
}

// The module's own classes are found by their names (PSR-4).
spl_autoload_register(static function (string $class): void {
    $parts = explode('\\', $class);
    if (array_shift($parts) === 'Modules') {
        $file = MikoPBX\Core\System\Settings::text('core', 'modulesDir') . '/' . implode('/', $parts) . '.php';
        if (is_file($file)) {
            require_once $file;
        }
    }
});
