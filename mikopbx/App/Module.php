<?php
/*
 * SPDX-License-Identifier: GPL-3.0-or-later
 * ModuleLdapSync: keeps the employees of MikoPBX and a directory in step.
 */

declare(strict_types=1);

namespace Modules\ModuleLdapSync\App;

use Phalcon\Di\DiInterface;
use Phalcon\Mvc\ModuleDefinitionInterface;

/**
 * Tells the admin cabinet that this module has pages. MikoPBX finds its classes by their names and gives it its services,
 * so there is nothing to register.
 */
class Module implements ModuleDefinitionInterface
{
    public function registerAutoloaders(?DiInterface $container = null): void
    {
    }

    public function registerServices(DiInterface $container): void
    {
    }
}
