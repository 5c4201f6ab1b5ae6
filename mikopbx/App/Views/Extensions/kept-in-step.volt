<div class="ui small info message" id="module-ldap-sync-kept" hidden>
    <i class="address book outline icon"></i>
    {{ t._('module_ldap_KeptInStepForm') }}
    <a href="{{ url('module-ldap-sync/module-ldap-sync/index') }}">{{ t._('BreadcrumbModuleLdapSync') }}</a>
</div>
