<?php
/*
 * SPDX-License-Identifier: GPL-3.0-or-later
 * ModuleLdapSync: keeps the employees of MikoPBX and a directory in step.
 */

declare(strict_types=1);

namespace Modules\ModuleLdapSync\Lib;

use JsonException;
use MikoPBX\Common\Models\PbxSettings;

/**
 * Starts `bin/pbx-host`, which loads the library: the only place of the module that starts a process.
 *
 * PHP and the library must not share a process, because each has its own copy of SQLite. Everything goes by JSON over
 * stdin and stdout; there is no shell, and nothing secret stands among the arguments.
 */
final class HostProgram
{
    /** Seconds a call may take; MikoPBX's own clients give up after 30. */
    public const CALL_SECONDS = 20;

    /** Status of a call that did not reach the library (EX_UNAVAILABLE of sysexits.h). */
    public const UNAVAILABLE = 69;

    /** Seconds beyond the limit until the program itself has ended the call. */
    private const GRACE_SECONDS = 6;

    public function __construct(private readonly string $moduleDir)
    {
    }

    /** The program of the installed module. */
    public static function ofThisModule(): self
    {
        return new self(dirname(__DIR__));
    }

    /**
     * Makes one call of the library and answers `status` and the envelope `result`, `data`, `messages`.
     *
     * @param array<string, mixed> $call the hook with what belongs to it, for example `action` and `body`
     */
    public function call(array $call): array
    {
        try {
            $input = json_encode($call, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE);
        } catch (JsonException $exception) {
            return $this->unavailable("the call cannot be written as JSON: {$exception->getMessage()}");
        }
        $process = $this->start(['mikopbx-call', '--limit', (string)self::CALL_SECONDS]);
        if ($process === null) {
            return $this->unavailable('it cannot be started; install the module again');
        }
        $output = $process->finish($input, self::CALL_SECONDS + self::GRACE_SECONDS);
        $answer = json_decode($output, true);
        if (!is_array($answer) || !is_int($answer['status'] ?? null) || !is_array($answer['answer'] ?? null)) {
            return $this->unavailable('it gave no answer; see the system log');
        }
        return ['status' => $answer['status']] + $answer['answer'];
    }

    /** Serves one action of the page; `config-save` is a hook of its own. */
    public function request(string $action, array $data): array
    {
        if ($action === 'config-save') {
            return $this->call(['hook' => 'config_save', 'body' => (object)$data]);
        }
        return $this->call(['hook' => 'request', 'action' => $action, 'body' => (object)$data]);
    }

    /** Starts the worker; null when it cannot be started. It ends when its input is closed. */
    public function startWorker(): ?HostProcess
    {
        return $this->start(['-v', 'mikopbx-worker']);
    }

    private function start(array $arguments): ?HostProcess
    {
        $program = $this->moduleDir . '/bin/pbx-host';
        $port = (string)PbxSettings::getValueByKey('WEBPort');
        if (ctype_digit($port)) {
            array_push($arguments, '--web-port', $port);
        }
        return HostProcess::start([$program, ...$arguments]);
    }

    private function unavailable(string $reason): array
    {
        $text = "The module's program {$this->moduleDir}/bin/pbx-host did not work: $reason";
        return ['status' => self::UNAVAILABLE, 'result' => false, 'data' => [], 'messages' => ['error' => [$text], 'info' => []]];
    }
}
