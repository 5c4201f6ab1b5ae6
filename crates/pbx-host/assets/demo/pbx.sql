-- The tables of a MikoPBX 2026.1 database that hold people, numbers and what points at them, with the content a new
-- installation has. Types, defaults and NOT NULL are those MikoPBX makes itself (docs/MIKOPBX.md); the secrets are
-- invented, the texts are ours. Settings that depend on the demo are set by the program.

CREATE TABLE m_Users (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  email VARCHAR(0) NULL,
  username VARCHAR(0) NULL,
  language VARCHAR(0) NULL,
  avatar VARCHAR(0) NULL
);
CREATE TABLE m_Extensions (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  number VARCHAR(0) NULL,
  type VARCHAR(0) NULL,
  callerid VARCHAR(0) NULL,
  userid INTEGER NULL,
  show_in_phonebook VARCHAR(1) DEFAULT "1" NULL,
  public_access VARCHAR(1) DEFAULT "1" NULL,
  is_general_user_number VARCHAR(1) DEFAULT "0" NULL,
  search_index VARCHAR(0) DEFAULT "" NULL
);
CREATE TABLE m_Sip (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  uniqid VARCHAR(0) NULL,
  disabled VARCHAR(1) NOT NULL,
  extension VARCHAR(0) NULL,
  type VARCHAR(0) NULL,
  registration_type VARCHAR(0) NULL,
  host VARCHAR(0) NULL,
  port INTEGER NULL,
  username VARCHAR(0) NULL,
  secret VARCHAR(0) NULL,
  transport VARCHAR(0) NULL,
  outbound_proxy VARCHAR(0) NULL,
  fromuser VARCHAR(0) NULL,
  fromdomain VARCHAR(0) NULL,
  nat VARCHAR(0) NULL,
  dtmfmode VARCHAR(0) NULL,
  qualifyfreq INTEGER NULL,
  qualify VARCHAR(1) NULL,
  networkfilterid INTEGER NULL,
  manualattributes VARCHAR(0) NULL,
  disablefromuser VARCHAR(1) DEFAULT "0" NULL,
  noregister VARCHAR(1) DEFAULT "0" NULL,
  description VARCHAR(0) NULL,
  enableRecording INTEGER DEFAULT "1" NULL,
  weakSecret INTEGER DEFAULT "0" NULL,
  cid_source VARCHAR(0) DEFAULT "default" NULL,
  cid_custom_header VARCHAR(0) NULL,
  cid_parser_start VARCHAR(0) NULL,
  cid_parser_end VARCHAR(0) NULL,
  cid_parser_regex VARCHAR(0) NULL,
  did_source VARCHAR(0) DEFAULT "default" NULL,
  did_custom_header VARCHAR(0) NULL,
  did_parser_start VARCHAR(0) NULL,
  did_parser_end VARCHAR(0) NULL,
  did_parser_regex VARCHAR(0) NULL,
  cid_did_debug VARCHAR(1) DEFAULT "0" NULL
);
CREATE TABLE m_ExternalPhones (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  extension VARCHAR(0) NULL,
  uniqid VARCHAR(0) NULL,
  dialstring VARCHAR(0) NULL,
  manualdialplanincoming VARCHAR(0) NULL,
  manualdialplanoutgoing VARCHAR(0) NULL,
  disabled VARCHAR(1) NOT NULL
);
CREATE TABLE m_ExtensionForwardingRights (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  extension VARCHAR(0) NULL,
  forwarding VARCHAR(0) NULL,
  forwardingonbusy VARCHAR(0) NULL,
  forwardingonunavailable VARCHAR(0) NULL,
  ringlength INTEGER NULL
);
CREATE TABLE m_PbxSettings (
  key VARCHAR(0) PRIMARY KEY NOT NULL,
  value VARCHAR(0) NULL
);
CREATE TABLE m_PbxExtensionModules (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  uniqid VARCHAR(0) NULL,
  name VARCHAR(0) NULL,
  version VARCHAR(0) NULL,
  developer VARCHAR(0) NULL,
  supportemail VARCHAR(0) NULL,
  path VARCHAR(0) NULL,
  description VARCHAR(0) NULL,
  wiki_links VARCHAR(0) NULL,
  disabled VARCHAR(1) NOT NULL,
  disableReason VARCHAR(0) NULL,
  disableReasonText VARCHAR(0) NULL
);
CREATE TABLE m_IncomingRoutingTable (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  rulename VARCHAR(0) NULL,
  number VARCHAR(0) NULL,
  extension VARCHAR(0) NULL,
  provider VARCHAR(0) NULL,
  priority INTEGER NULL,
  timeout INTEGER NULL,
  action VARCHAR(0) NULL,
  note VARCHAR(0) NULL,
  audio_message_id VARCHAR(0) NULL
);
CREATE TABLE m_CallQueues (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  uniqid VARCHAR(0) NULL,
  name VARCHAR(100) NULL,
  extension VARCHAR(0) NULL,
  strategy VARCHAR(0) NULL,
  seconds_to_ring_each_member VARCHAR(0) NULL,
  seconds_for_wrapup INTEGER NULL,
  recive_calls_while_on_a_call VARCHAR(1) NULL,
  caller_hear VARCHAR(0) NULL,
  announce_position INTEGER NULL,
  announce_hold_time INTEGER NULL,
  periodic_announce_sound_id INTEGER NULL,
  moh_sound_id INTEGER NULL,
  periodic_announce_frequency INTEGER NULL,
  timeout_to_redirect_to_extension INTEGER NULL,
  timeout_extension VARCHAR(0) NULL,
  redirect_to_extension_if_empty VARCHAR(0) NULL,
  number_unanswered_calls_to_redirect INTEGER NULL,
  redirect_to_extension_if_unanswered VARCHAR(0) NULL,
  number_repeat_unanswered_to_redirect INTEGER NULL,
  redirect_to_extension_if_repeat_exceeded VARCHAR(0) NULL,
  callerid_prefix VARCHAR(50) NULL,
  description VARCHAR(500) NULL
);
CREATE TABLE m_CallQueueMembers (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  queue VARCHAR(0) NULL,
  extension VARCHAR(0) NULL,
  priority INTEGER NULL
);
CREATE TABLE m_DialplanApplications (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  uniqid VARCHAR(0) NULL,
  name VARCHAR(0) NULL,
  extension VARCHAR(0) NULL,
  hint VARCHAR(0) NULL,
  applicationlogic VARCHAR(0) NULL,
  type VARCHAR(0) NULL,
  description VARCHAR(0) NULL
);
CREATE TABLE m_ConferenceRooms (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  uniqid VARCHAR(0) NULL,
  extension VARCHAR(0) NULL,
  name VARCHAR(0) NULL,
  pinCode VARCHAR(0) NULL
);
CREATE TABLE m_IvrMenu (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  uniqid VARCHAR(0) NULL,
  extension VARCHAR(0) NULL,
  audio_message_id VARCHAR(0) NULL,
  name VARCHAR(0) NULL,
  timeout INTEGER DEFAULT "7" NULL,
  timeout_extension VARCHAR(0) NULL,
  allow_enter_any_internal_extension VARCHAR(1) DEFAULT "0" NULL,
  number_of_repeat INTEGER DEFAULT "3" NULL,
  description VARCHAR(0) NULL
);
CREATE TABLE m_IvrMenuActions (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  ivr_menu_id VARCHAR(0) NULL,
  digits VARCHAR(0) NULL,
  extension VARCHAR(0) NULL
);
CREATE TABLE m_OutWorkTimes (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  date_from VARCHAR(0) NULL,
  date_to VARCHAR(0) NULL,
  weekday_from INTEGER NULL,
  weekday_to INTEGER NULL,
  time_from VARCHAR(0) NULL,
  time_to VARCHAR(0) NULL,
  action VARCHAR(0) NULL,
  extension VARCHAR(0) NULL,
  audio_message_id INTEGER NULL,
  description VARCHAR(0) NULL,
  allowRestriction VARCHAR(0) NULL,
  priority INTEGER NULL,
  calType VARCHAR(0) NULL,
  calUrl VARCHAR(0) NULL,
  calUser VARCHAR(0) NULL,
  calSecret VARCHAR(0) NULL
);
CREATE TABLE m_OutWorkTimesRouts (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  timeConditionId INTEGER NOT NULL,
  routId VARCHAR(0) NOT NULL
);
CREATE TABLE m_OutgoingRoutingTable (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  rulename VARCHAR(0) NULL,
  providerid VARCHAR(0) NULL,
  priority VARCHAR(0) NULL,
  numberbeginswith VARCHAR(0) NULL,
  restnumbers VARCHAR(0) NULL,
  trimfrombegin VARCHAR(0) NULL,
  prepend VARCHAR(0) NULL,
  note VARCHAR(0) NULL
);
CREATE TABLE m_NetworkFilters (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  permit VARCHAR(0) NULL,
  deny VARCHAR(0) NULL,
  newer_block_ip VARCHAR(1) DEFAULT "0" NULL,
  local_network VARCHAR(1) DEFAULT "0" NULL,
  description VARCHAR(0) NULL,
  priority VARCHAR(0) NULL
);
CREATE TABLE m_SipHosts (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  provider_id VARCHAR(0) NULL,
  address VARCHAR(0) NULL
);
CREATE TABLE m_Providers (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  uniqid VARCHAR(0) NULL,
  type VARCHAR(0) NULL,
  sipuid VARCHAR(0) NULL,
  iaxuid VARCHAR(0) NULL,
  note VARCHAR(0) NULL
);
CREATE TABLE m_Iax (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  uniqid VARCHAR(0) NULL,
  username VARCHAR(0) NULL,
  secret VARCHAR(0) NULL,
  host VARCHAR(0) NULL,
  qualify VARCHAR(1) NULL,
  disabled VARCHAR(1) NOT NULL,
  noregister VARCHAR(1) DEFAULT "0" NULL,
  manualattributes VARCHAR(0) NULL,
  description VARCHAR(0) NULL,
  registration_type VARCHAR(0) DEFAULT "outbound" NULL,
  networkfilterid INTEGER NULL,
  port INTEGER NULL
);
CREATE TABLE m_SoundFiles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  name VARCHAR(0) NULL,
  path VARCHAR(0) NULL,
  category VARCHAR(0) NULL,
  description VARCHAR(0) NULL
);

INSERT INTO m_Users
  (id, email, username, language, avatar) VALUES
  (110, '', 'Smith James', 'ru-ru', '/avatars/user_110.jpg'),
  (111, '', 'Brown Brandon', 'ru-ru', '/avatars/user_111.jpg'),
  (112, '', 'Collins Melanie', 'ru-ru', '/avatars/user_112.jpg');

INSERT INTO m_Extensions
  (id, number, type, callerid, userid, show_in_phonebook, public_access, is_general_user_number, search_index) VALUES
  (9, '000063', 'DIALPLAN APPLICATION', 'Reads back the extension', NULL, '1', '1', '0', ''),
  (11, '000064', 'DIALPLAN APPLICATION', '0000MILLI', NULL, '1', '1', '0', ''),
  (144, '201', 'SIP', 'Smith James', 110, '1', '0', '1', 'smith james smith james  201 89261111111'),
  (145, '89261111111', 'EXTERNAL', 'Smith James', 110, '1', '0', '1', ''),
  (146, '202', 'SIP', 'Brown Brandon', 111, '1', '0', '1', 'brown brandon brown brandon  202 89161111111'),
  (147, '89161111111', 'EXTERNAL', 'Brown Brandon', 111, '1', '0', '1', ''),
  (148, '203', 'SIP', 'Collins Melanie', 112, '1', '0', '1', 'collins melanie collins melanie  203 89251111111'),
  (149, '89251111111', 'EXTERNAL', 'Collins Melanie', 112, '1', '0', '1', ''),
  (150, '2001', 'QUEUE', 'Sales office', NULL, '1', '1', '0', ''),
  (151, '2002', 'QUEUE', 'Technical Support Department', NULL, '1', '1', '0', ''),
  (152, '2003', 'IVR MENU', 'Main voice menu', NULL, '1', '1', '0', ''),
  (153, '1111', 'CONFERENCE', 'Main conference room', NULL, '1', '1', '0', ''),
  (154, '10003246', 'DIALPLAN APPLICATION', 'Echo test', NULL, '1', '1', '0', ''),
  (155, 'hangup', 'SYSTEM', 'System Extension', NULL, '1', '0', '0', ''),
  (156, 'busy', 'SYSTEM', 'System Extension', NULL, '1', '0', '0', ''),
  (157, 'did2user', 'SYSTEM', 'System Extension', NULL, '1', '0', '0', ''),
  (158, 'voicemail', 'SYSTEM', 'System Extension', NULL, '1', '0', '0', ''),
  (159, '801', 'PARKING', '', NULL, '0', '1', '0', ''),
  (160, '802', 'PARKING', '', NULL, '0', '1', '0', ''),
  (161, '803', 'PARKING', '', NULL, '0', '1', '0', ''),
  (162, '804', 'PARKING', '', NULL, '0', '1', '0', ''),
  (163, '805', 'PARKING', '', NULL, '0', '1', '0', ''),
  (164, '806', 'PARKING', '', NULL, '0', '1', '0', ''),
  (165, '807', 'PARKING', '', NULL, '0', '1', '0', ''),
  (166, '808', 'PARKING', '', NULL, '0', '1', '0', ''),
  (167, '809', 'PARKING', '', NULL, '0', '1', '0', ''),
  (168, '810', 'PARKING', '', NULL, '0', '1', '0', ''),
  (169, '811', 'PARKING', '', NULL, '0', '1', '0', ''),
  (170, '812', 'PARKING', '', NULL, '0', '1', '0', ''),
  (171, '813', 'PARKING', '', NULL, '0', '1', '0', ''),
  (172, '814', 'PARKING', '', NULL, '0', '1', '0', ''),
  (173, '815', 'PARKING', '', NULL, '0', '1', '0', ''),
  (174, '816', 'PARKING', '', NULL, '0', '1', '0', ''),
  (175, '817', 'PARKING', '', NULL, '0', '1', '0', ''),
  (176, '818', 'PARKING', '', NULL, '0', '1', '0', ''),
  (177, '819', 'PARKING', '', NULL, '0', '1', '0', ''),
  (178, '820', 'PARKING', '', NULL, '0', '1', '0', ''),
  (179, '800', 'PARKING', '', NULL, '0', '1', '0', '');

INSERT INTO m_Sip
  (id, uniqid, disabled, extension, type, registration_type, host, port, username, secret, fromuser, fromdomain,
   nat, dtmfmode, qualifyfreq, qualify, manualattributes, disablefromuser, noregister, description,
   enableRecording, weakSecret, cid_source, cid_custom_header, cid_parser_start, cid_parser_end, cid_parser_regex,
   did_source, did_custom_header, did_parser_start, did_parser_end, did_parser_regex, cid_did_debug) VALUES
  (74, 'SIP-PHONE-8A41D7F28A41D7F28A41D7F28A41D7F2', '0', '201', 'peer', NULL, NULL, NULL, NULL, 'demo-Secret-201-x7Qk', NULL, NULL, 'force_rport,comedia', 'auto', 60, '1', '', '0', NULL, 'Smith James', 1, 0, 'default', NULL, NULL, NULL, NULL, 'default', NULL, NULL, NULL, NULL, '0'),
  (75, 'SIP-PHONE-B1529CE4B1529CE4B1529CE4B1529CE4', '0', '202', 'peer', NULL, NULL, NULL, NULL, 'demo-Secret-202-m3Vz', NULL, NULL, 'force_rport,comedia', 'auto', 60, '1', '', '0', NULL, 'Brown Brandon', 1, 0, 'default', NULL, NULL, NULL, NULL, 'default', NULL, NULL, NULL, NULL, '0'),
  (76, 'SIP-PHONE-C6630AD8C6630AD8C6630AD8C6630AD8', '0', '203', 'peer', NULL, NULL, NULL, NULL, 'demo-Secret-203-p9Tb', NULL, NULL, 'force_rport,comedia', 'auto', 60, '1', '', '0', NULL, 'Collins Melanie', 1, 0, 'default', NULL, NULL, NULL, NULL, 'default', NULL, NULL, NULL, NULL, '0'),
  (77, 'SIP-TRUNK-34F7CAFE', '0', NULL, 'friend', 'outbound', 'sip.example.test', 5060, 'demo-trunk', 'demo-Trunk-secret-1', '', '', 'force_rport,comedia', 'auto', 60, '1', '', '1', '0', 'Demo provider', 1, 0, 'default', '', '', '', '', 'default', '', '', '', '', '0');

INSERT INTO m_ExternalPhones
  (id, extension, uniqid, dialstring, disabled) VALUES
  (18, '89261111111', 'EXTERNAL-8A41D7F28A41D7F28A41D7F28A41D7F2', '89261111111', '0'),
  (19, '89161111111', 'EXTERNAL-B1529CE4B1529CE4B1529CE4B1529CE4', '89161111111', '0'),
  (20, '89251111111', 'EXTERNAL-C6630AD8C6630AD8C6630AD8C6630AD8', '89251111111', '0');

INSERT INTO m_ExtensionForwardingRights
  (id, extension, forwarding, forwardingonbusy, forwardingonunavailable, ringlength) VALUES
  (24, '201', '89261111111', '89261111111', '89261111111', 45),
  (25, '202', '89161111111', '89161111111', '89161111111', 45),
  (26, '203', '89251111111', '89251111111', '89251111111', 45);

INSERT INTO m_PbxSettings
  (key, value) VALUES
  ('PBXVersion', '2026.1.300-dev'),
  ('PBXName', 'MikoPBX'),
  ('PBXDescription', ''),
  ('PBXLanguage', 'en-en'),
  ('PBXTimezone', 'Europe/Moscow'),
  ('MailSMTPPort', '587'),
  ('SIPPort', '5060'),
  ('IAXPort', '4569'),
  ('AMIPort', '5038'),
  ('AJAMPort', '8088'),
  ('PBXCallParkingExt', '800'),
  ('PBXCallParkingStartSlot', '801'),
  ('PBXCallParkingEndSlot', '820'),
  ('PBXFeatureAttendedTransfer', '##'),
  ('PBXFeatureBlindTransfer', '**'),
  ('RTPPortFrom', '10000'),
  ('RTPPortTo', '10800'),
  ('PBXInternalExtensionLength', '3'),
  ('Name', 'MikoPBX system'),
  ('WEBPort', '80'),
  ('WEBHTTPSPort', '443'),
  ('PBXRecordCalls', '1'),
  ('PBXAllowGuestCalls', '0');

INSERT INTO m_IncomingRoutingTable
  (id, rulename, number, extension, provider, priority, timeout, action, note) VALUES
  (1, 'default action', '', '201', '', 9999, 0, 'extension', ''),
  (12, NULL, '', '2003', 'SIP-TRUNK-34F7CAFE', 1000, 50, 'extension', 'Calls from outside hear the main voice menu; unanswered calls go to 201.');

INSERT INTO m_CallQueues
  (id, uniqid, name, extension, strategy, seconds_to_ring_each_member, seconds_for_wrapup,
   recive_calls_while_on_a_call, caller_hear, announce_position, announce_hold_time, periodic_announce_frequency,
   timeout_to_redirect_to_extension, timeout_extension, description) VALUES
  (20, 'QUEUE-F383', 'Sales office', '2001', 'ringall', '20', 15, '0', 'moh', 1, 1, 45, NULL, NULL, 'Rings everybody in the sales office at once.'),
  (21, 'QUEUE-D676', 'Technical Support Department', '2002', 'random', '20', 15, '0', 'moh', 1, 1, 45, 30, '203', 'Rings a free engineer; after 30 seconds the call goes to 203.');

INSERT INTO m_CallQueueMembers
  (id, queue, extension, priority) VALUES
  (112, 'QUEUE-F383', '201', 1),
  (113, 'QUEUE-F383', '202', 2),
  (114, 'QUEUE-D676', '202', 1),
  (115, 'QUEUE-D676', '203', 2);

INSERT INTO m_DialplanApplications
  (id, uniqid, name, extension, hint, applicationlogic, type, description) VALUES
  (1, 'DIALPLAN-4D40', 'Reads back the extension', '000063', '', 'MSxBbnN3ZXIoKQpuLFNheURpZ2l0cygke0NBTExFUklEKG51bSl9KQpuLEhhbmd1cCgp', 'plaintext', 'Says the number of the phone that calls it.'),
  (4, 'DIALPLAN-7375', '0000MILLI', '000064', '', 'MSxBbnN3ZXIoKQpuLE1pbGxpd2F0dCgpCm4sSGFuZ3VwKCk=', 'plaintext', 'Plays a steady tone to test the line.'),
  (5, 'DIALPLAN-APPLICATION-5D0C2A71E94B4F6F8A3B1C7E60D2F911', 'Echo test', '10003246', '', 'MSxBbnN3ZXIoKQpuLEVjaG8oKQpuLEhhbmd1cCgp', 'plaintext', 'Sends the caller''s voice back.');

INSERT INTO m_ConferenceRooms
  (id, uniqid, extension, name) VALUES
  (3, 'CONFERENCE-787E', '1111', 'Main conference room');

INSERT INTO m_IvrMenu
  (id, uniqid, extension, audio_message_id, name, timeout, timeout_extension, allow_enter_any_internal_extension,
   number_of_repeat, description) VALUES
  (5, 'IVR-71D3A6B80C594E2F', '2003', '2', 'Main voice menu', 7, '201', '1', 3, '1 leads to the sales office, 2 to technical support.');

INSERT INTO m_IvrMenuActions
  (id, ivr_menu_id, digits, extension) VALUES
  (34, 'IVR-71D3A6B80C594E2F', '1', '2001'),
  (35, 'IVR-71D3A6B80C594E2F', '2', '2002');

INSERT INTO m_OutWorkTimes
  (id, date_from, date_to, weekday_from, weekday_to, time_from, time_to, action, extension, audio_message_id,
   description) VALUES
  (1, '', '', 1, 5, '0:00', '9:00', 'playmessage', '', 1, ''),
  (2, '', '', 1, 5, '18:00', '23:00', 'playmessage', '', 1, ''),
  (3, '', '', 6, 7, '0:00', '23:00', 'playmessage', '', 1, ''),
  (5, '1552003200', '1552003200', NULL, NULL, '', '', 'playmessage', '', 1, 'A holiday.'),
  (6, '1546300800', '1546905600', NULL, NULL, '', '', 'playmessage', '', 1, 'New year.');

INSERT INTO m_OutgoingRoutingTable
  (id, rulename, providerid, priority, numberbeginswith, restnumbers, trimfrombegin, prepend, note) VALUES
  (21, 'All calls through the demo provider', 'SIP-TRUNK-34F7CAFE', '0', '(7|8)', '10', '0', '', 'Numbers of 11 digits that begin with 7 or 8.');

INSERT INTO m_NetworkFilters
  (id, permit, deny, newer_block_ip, local_network, description, priority) VALUES
  (4, '0.0.0.0/0', '0.0.0.0/0', '0', '0', 'Internet', '1');

INSERT INTO m_SipHosts
  (id, provider_id, address) VALUES
  (1, 'SIP-TRUNK-34F7CAFE', 'sip.example.test');

INSERT INTO m_Providers
  (id, uniqid, type, sipuid) VALUES
  (14, 'SIP-TRUNK-34F7CAFE', 'SIP', 'SIP-TRUNK-34F7CAFE');

INSERT INTO m_SoundFiles
  (id, name, path, category, description) VALUES
  (1, 'Out of work hours', '/demo/closed.mp3', 'custom', ''),
  (2, 'Main voice menu', '/demo/menu.mp3', 'custom', '');

-- Ids go on where a new installation's go on: the next employee is m_Users.id 113.
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence (name, seq) VALUES
  ('m_Users', 112),
  ('m_Extensions', 179),
  ('m_Sip', 77),
  ('m_ExternalPhones', 20),
  ('m_ExtensionForwardingRights', 26),
  ('m_IncomingRoutingTable', 12),
  ('m_CallQueues', 21),
  ('m_CallQueueMembers', 115),
  ('m_DialplanApplications', 5),
  ('m_ConferenceRooms', 3),
  ('m_IvrMenu', 5),
  ('m_IvrMenuActions', 35),
  ('m_OutWorkTimes', 6),
  ('m_OutgoingRoutingTable', 21),
  ('m_NetworkFilters', 4),
  ('m_SipHosts', 1),
  ('m_Providers', 14),
  ('m_SoundFiles', 2);
