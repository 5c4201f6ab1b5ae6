<?php

// What the module touches of the Phalcon framework.

declare(strict_types=1);

namespace Phalcon\Di {
    interface DiInterface
    {
    }
}

namespace Phalcon\Mvc {
    interface ModuleDefinitionInterface
    {
        public function registerAutoloaders(?\Phalcon\Di\DiInterface $container = null);

        public function registerServices(\Phalcon\Di\DiInterface $container);
    }

    class Dispatcher
    {
        public function __construct(private string $controller, private string $action)
        {
        }

        public function getControllerName(): string
        {
            return $this->controller;
        }

        public function getActionName(): string
        {
            return $this->action;
        }
    }

    class View
    {
        public array $variables = [];
        public string $picked = '';

        public function setVar(string $name, mixed $value): self
        {
            $this->variables[$name] = $value;
            return $this;
        }

        public function pick(string $view): self
        {
            $this->picked = $view;
            return $this;
        }
    }

    class Url
    {
        public function get(string $uri = ''): string
        {
            return '/admin-cabinet/' . $uri;
        }
    }
}

namespace Phalcon\Http {
    class Request
    {
        public function __construct(private ?array $post)
        {
        }

        public function isPost(): bool
        {
            return $this->post !== null;
        }

        public function getPost(): array
        {
            return $this->post ?? [];
        }
    }
}

namespace Phalcon\Assets {
    class Collection
    {
        public array $files = [];

        public function addJs(string $path, ?bool $isLocal = null): self
        {
            $this->files[] = $path;
            return $this;
        }

        public function addCss(string $path, ?bool $isLocal = null): self
        {
            $this->files[] = $path;
            return $this;
        }
    }

    class Manager
    {
        /** @var array<string, Collection> */
        public array $collections = [];

        public function collection(string $name): Collection
        {
            return $this->collections[$name] ??= new Collection();
        }
    }
}
