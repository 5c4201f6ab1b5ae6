<div id="module-ldap-sync" data-lang="{{ WebAdminLanguage|e }}" data-view="{{ startView|e }}"></div>
<script type="module" src="{{ pageScript|e }}"></script>
