<?php

// What a worker is made of in MikoPBX.

declare(strict_types=1);

namespace MikoPBX\Core\Workers\Cron {
    class WorkerSafeScriptsCore
    {
        public const CHECK_BY_BEANSTALK = 'checkWorkerBeanstalk';
        public const CHECK_BY_PID_NOT_ALERT = 'checkPidNotAlert';
    }
}

namespace MikoPBX\Core\Workers {
    use MikoPBX\Core\System\BeanstalkClient;
    use MikoPBX\Core\System\Settings;
    use Throwable;

    abstract class WorkerBase
    {
        protected bool $needRestart = false;

        public function __construct()
        {
            pcntl_async_signals(true);
            foreach ([SIGUSR1, SIGTERM, SIGINT] as $signal) {
                pcntl_signal($signal, [$this, 'signalHandler'], true);
            }
        }

        abstract public function start(array $argv): void;

        public static function getCheckInterval(): int
        {
            return 60;
        }

        /** A failure is counted; here in a file beside the settings. */
        public static function startWorker(array $argv, bool $setProcName = true): void
        {
            if (($argv[1] ?? '') !== 'start') {
                return;
            }
            try {
                (new static())->start($argv);
            } catch (Throwable $exception) {
                file_put_contents(dirname(Settings::file()) . '/crashes', $exception->getMessage() . "\n", FILE_APPEND);
            }
        }

        public function signalHandler(int $signal): void
        {
            if ($signal === SIGUSR1) {
                $this->needRestart = true;
            } else {
                exit(0);
            }
        }

        public function pingCallBack(BeanstalkClient $message): void
        {
            $message->reply(json_encode($message->getBody() . ':pong', JSON_THROW_ON_ERROR));
        }

        public function makePingTubeName(string $workerClassName): string
        {
            return 'Ping' . str_replace('\\', '', $workerClassName);
        }
    }
}
