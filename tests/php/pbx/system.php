<?php

// MikoPBX's system: settings, log, rights of files, the queue.

declare(strict_types=1);

namespace MikoPBX\Core\System {
    use RuntimeException;

    /** The settings file. */
    final class Settings
    {
        public static function text(string $section, string $name): string
        {
            $settings = json_decode((string)file_get_contents(self::file()), true, 512, JSON_THROW_ON_ERROR);
            return (string)$settings[$section][$name];
        }

        public static function file(): string
        {
            return (string)getenv('LDAP_SYNC_PBX_SETTINGS');
        }
    }

    class SystemMessages
    {
        /** The system log is a file beside the settings. */
        public static function sysLogMsg(string $ident, string $message, int $level = LOG_WARNING): void
        {
            file_put_contents(dirname(Settings::file()) . '/syslog', "$level $ident: $message\n", FILE_APPEND);
        }
    }

    class Util
    {
        public static function addExecutableRights(string $folder): void
        {
            foreach (glob("$folder/*") as $file) {
                chmod($file, 0755);
            }
        }

        /** Directories 755, files 644, as at install and at each boot. */
        public static function addRegularWWWRights(string $folder): void
        {
            chmod($folder, is_dir($folder) ? 0755 : 0644);
            foreach (is_dir($folder) ? array_diff(scandir($folder), ['.', '..']) : [] as $name) {
                self::addRegularWWWRights("$folder/$name");
            }
        }
    }

    /** A client of beanstalkd that publishes as MikoPBX's does: PHP-serialised, to a tube without backslashes. */
    class BeanstalkClient
    {
        private $stream;
        private string $tube;
        private array $subscriptions = [];
        private string $body = '';
        private string $inbox = '';

        public function __construct(string $tube = 'default', string $port = '')
        {
            $this->tube = str_replace('\\', '-', $tube);
            $address = Settings::text('beanstalk', 'host') . ':' . Settings::text('beanstalk', 'port');
            $this->stream = stream_socket_client("tcp://$address", $code, $message, 5);
            $this->ask("use {$this->tube}\r\n", 'USING');
        }

        public function publish(
            mixed $job_data,
            ?string $tube = null,
            int $priority = 1024,
            int $delay = 0,
            int $ttr = 60
        ): int {
            $this->ask('use ' . str_replace('\\', '-', $tube ?? $this->tube) . "\r\n", 'USING');
            $data = serialize($job_data);
            $answer = $this->ask("put $priority $delay $ttr " . strlen($data) . "\r\n$data\r\n", 'INSERTED');
            $this->ask("use {$this->tube}\r\n", 'USING');
            return (int)$answer[1];
        }

        public function subscribe(string $tube, array $callback): void
        {
            $tube = str_replace('\\', '-', $tube);
            $this->ask("watch $tube\r\n", 'WATCHING');
            $this->ask("ignore default\r\n", 'WATCHING');
            $this->subscriptions[$tube] = $callback;
        }

        public function wait(float $timeout = 5): void
        {
            [$word, $id, $data] = $this->reserve((int)$timeout);
            if ($word === 'RESERVED') {
                [$this->inbox, $this->body] = unserialize($data, ['allowed_classes' => false]);
                foreach ($this->subscriptions as $callback) {
                    $callback($this);
                }
                $this->ask("delete $id\r\n", 'DELETED');
            }
        }

        public function getBody(): string
        {
            return $this->body;
        }

        public function reply(string $response): void
        {
            $this->publish($response, $this->inbox);
        }

        /** Asks a worker; answers whether it replied, and what. */
        public function sendRequest($job_data, int $timeout = 10, int $priority = 1024): array
        {
            $inbox = uniqid('INBOX_');
            $this->ask("watch $inbox\r\n", 'WATCHING');
            $this->ask("ignore default\r\n", 'WATCHING');
            $this->publish([$inbox, $job_data], null, $priority);
            [$word, $id, $data] = $this->reserve($timeout);
            if ($word !== 'RESERVED') {
                return [false, ''];
            }
            $this->ask("delete $id\r\n", 'DELETED');
            return [true, unserialize($data, ['allowed_classes' => false])];
        }

        private function reserve(int $timeout): array
        {
            $answer = $this->ask("reserve-with-timeout $timeout\r\n");
            $data = $answer[0] === 'RESERVED' ? stream_get_contents($this->stream, (int)$answer[2] + 2) : '';
            return [$answer[0], $answer[1] ?? '', substr($data, 0, -2)];
        }

        private function ask(string $command, string $expected = ''): array
        {
            fwrite($this->stream, $command);
            $answer = explode(' ', trim((string)fgets($this->stream)));
            if ($expected !== '' && $answer[0] !== $expected) {
                throw new RuntimeException('beanstalkd answered ' . implode(' ', $answer));
            }
            return $answer;
        }
    }
}
