<?php

// What a controller of the admin cabinet is made of in MikoPBX.

declare(strict_types=1);

namespace MikoPBX\AdminCabinet\Controllers {
    use Phalcon\Assets\Manager;
    use Phalcon\Http\Request;
    use Phalcon\Mvc\Url;
    use Phalcon\Mvc\View;

    class BaseController
    {
        public View $view;
        public Manager $assets;
        public Url $url;
        public Request $request;

        public function __construct(?array $post)
        {
            $this->view = new View();
            $this->assets = new Manager();
            $this->url = new Url();
            $this->request = new Request($post);
        }
    }
}
